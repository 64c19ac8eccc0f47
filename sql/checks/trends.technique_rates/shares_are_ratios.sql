-- A share is the models made so of those with a parent, and each quarter of a group has all techniques.
select snapshot, "grouping", "group", quarter_at, technique, n_models, n_using, share
from trends.technique_rates
where share <> n_using / n_models
union all
select snapshot, "grouping", "group", quarter_at, null, any_value(n_models), count(*), null
from trends.technique_rates
group by snapshot, "grouping", "group", quarter_at
having count(distinct technique) <> 5 or min(n_models) <> max(n_models)
