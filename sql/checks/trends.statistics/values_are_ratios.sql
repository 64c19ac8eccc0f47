-- A share is its cases over its total, a count its cases, and neither is more than its total; of nothing there is no
-- value.
select snapshot, statistic, unit, n_cases, n_total, value
from trends.statistics
where n_cases > n_total and unit <> 'ratio'
    or n_total = 0 and value is not null
    or unit = 'share' and value is distinct from case when n_total > 0 then n_cases / n_total end
    or unit = 'count' and value <> n_cases
