-- An imputed result is a mean of reported ones, so it lies between the least and the greatest of them.
-- reads: attributes.evaluations
with bounds as (
    select snapshot, benchmark, metric, unit, min(value) as least, max(value) as greatest
    from attributes.evaluations
    where isfinite(value)
    group by all
)
select i.snapshot, i.model_id, i.benchmark, i.metric, i.value, b.least, b.greatest
from attributes.imputed_evaluations as i
left join bounds as b using (snapshot, benchmark, metric, unit)
-- A mean of equal numbers may differ from them in its last digits.
where b.least is null
    or not i.value between b.least - 1e-9 * (1 + abs(b.least)) and b.greatest + 1e-9 * (1 + abs(b.greatest))
