-- All descendants of the model with most of them, with the number of steps and the weakest link on the way.
with recursive
ancestor as (select model_id from atlas_models order by n_descendants desc, model_id limit 1),
below as (
    select child_id as model_id, 1 as steps, confidence, parent_id as via
    from atlas_edges where parent_id = (select model_id from ancestor)
    union
    select e.child_id, below.steps + 1, least(below.confidence, e.confidence), e.parent_id
    from below join atlas_edges as e on e.parent_id = below.model_id
    -- The atlas is a DAG and no path is that long; a table that was tampered with ends here too.
    where below.steps < 100
)
select model_id, min(steps) as steps, max(confidence) as confidence
from below
group by model_id
order by steps, model_id;
