-- What was made from models that are gone, directly or not: the weakest link of the surest way tells how sure that is.
with recursive below as (
    select model_id as removed_model_id, model_id, 0 as steps, 1.0::double as confidence
    from atlas_models where presence = 'removed'
    union
    select b.removed_model_id, e.child_id, b.steps + 1, least(b.confidence, e.confidence)
    from below as b join atlas_edges as e on e.parent_id = b.model_id
    where b.steps < 200
)
select
    b.removed_model_id, b.model_id, min(b.steps) as steps, max(b.confidence) as confidence,
    any_value(m.license) as license
from below as b join atlas_models as m on m.model_id = b.model_id
where b.steps > 0
group by b.removed_model_id, b.model_id
order by b.removed_model_id, steps, b.model_id;
