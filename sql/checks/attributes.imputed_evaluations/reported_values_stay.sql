-- An imputed result stands beside the reported one and never replaces it: reported_value is what is reported for the
-- model, where that is in the unit of the imputed one.
-- reads: attributes.evaluations
select i.snapshot, i.model_id, i.benchmark, i.metric, i.reported_value, e.value
from attributes.imputed_evaluations as i
left join attributes.evaluations as e
    on e.snapshot = i.snapshot and e.model_id = i.model_id and e.benchmark = i.benchmark and e.metric = i.metric
    and e.unit = i.unit and isfinite(e.value)
where i.reported_value is distinct from e.value
