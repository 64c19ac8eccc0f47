-- The shortest way between a model and one made from it, in either order: one row per edge, from the older end down.
create macro path(a, b) as table
with recursive
ends as (select a as top, b as bottom union select b, a),
above as (
    select bottom, bottom as model_id, 0 as steps from ends
    union
    select above.bottom, e.parent_id, above.steps + 1
    from above join edges.charted as e on e.child_id = above.model_id
    where above.steps < 200
),
nearest as (select bottom, model_id, min(steps) as steps from above group by all),
onward as (
    select n.bottom, e.parent_id, n.steps, arg_max(e.child_id, (e.confidence, e.child_id)) as child_id
    from nearest as n
    join edges.charted as e on e.parent_id = n.model_id
    join nearest as below on below.bottom = n.bottom and below.model_id = e.child_id and below.steps = n.steps - 1
    group by all
),
walked as (
    select onward.bottom, onward.parent_id, onward.child_id, 1 as step
    from onward join ends on ends.bottom = onward.bottom and ends.top = onward.parent_id
    union
    select onward.bottom, onward.parent_id, onward.child_id, walked.step + 1
    from walked join onward on onward.bottom = walked.bottom and onward.parent_id = walked.child_id
)
select w.step, e.parent_id, e.child_id, e.relation, e.origin, e.rule, e.confidence
from walked as w join edges.charted as e on e.parent_id = w.parent_id and e.child_id = w.child_id
order by w.step;
