-- Every model made from a model, directly or not: the fewest steps, and the weakest link of the surest way.
create macro descendants(id) as table
with recursive below as (
    select child_id as model_id, 1 as steps, confidence from edges.charted where parent_id = id
    union
    select e.child_id, below.steps + 1, least(below.confidence, e.confidence)
    from below join edges.charted as e on e.parent_id = below.model_id
    where below.steps < 200
)
select model_id, min(steps) as steps, max(confidence) as confidence
from below
group by model_id
order by steps, model_id;
