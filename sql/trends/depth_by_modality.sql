-- Models by modality and depth; a model without any edge has no depth to speak of.
-- Reads components.models and components.impact.
with counted as (
    select coalesce(modality, 'unknown') as modality, depth, count(*) as n_models
    from components.models
    join components.impact using (model_id)
    where depth > 0 or not is_leaf
    group by all
)
select
    getvariable('snapshot') as snapshot, modality, depth, n_models,
    n_models / sum(n_models) over (partition by modality) as share
from counted
order by modality, depth
