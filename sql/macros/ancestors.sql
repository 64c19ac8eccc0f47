-- Every model from which a model was made, directly or not: the fewest steps, and the weakest link of the surest way.
create macro ancestors(id) as table
with recursive above as (
    select parent_id as model_id, 1 as steps, confidence from edges.charted where child_id = id
    union
    select e.parent_id, above.steps + 1, least(above.confidence, e.confidence)
    from above join edges.charted as e on e.child_id = above.model_id
    where above.steps < 200
)
select model_id, min(steps) as steps, max(confidence) as confidence
from above
group by model_id
order by steps, model_id;
