-- Every edge on the ways from a model to its sources, with what is known of the parent.
with
ends as (select $model_id as child_id union select model_id from ancestors($model_id)),
edges_above as (select e.* from edges.charted as e semi join ends on ends.child_id = e.child_id),
parents as (
    select model_id, license, downloads_30d, presence
    from components.models
    where
        model_id in (select parent_id from edges_above)
        and snapshot = (select max(snapshot) from components.models)
)
select e.*, p.license, p.downloads_30d, p.presence
from edges_above as e left join parents as p on p.model_id = e.parent_id
order by e.child_id, e.parent_id;
