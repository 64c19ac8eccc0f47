-- Every edge from a model and its nearer descendants to their children, with what is known of the child.
with
ends as (
    select $model_id as parent_id
    union
    select model_id from descendants($model_id) where steps < $depth
),
edges_below as (select e.* from edges.charted as e semi join ends on ends.parent_id = e.parent_id),
children as (
    select model_id, license, downloads_30d, presence
    from components.models
    where
        model_id in (select child_id from edges_below)
        and snapshot = (select max(snapshot) from components.models)
)
select e.*, c.license, c.downloads_30d, c.presence
from edges_below as e left join children as c on c.model_id = e.child_id
order by e.child_id, e.parent_id;
