-- A metric that a rule knows has the same unit wherever it is reported: values of one name can be compared.
-- severity: warning
select snapshot, benchmark, metric, count(*) as n_results
from attributes.results
where problem is null
group by snapshot, benchmark, metric
having count(distinct unit) > 1
