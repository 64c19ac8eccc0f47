-- Children of each model, and the sets of sibling leaves: leaves with the same parents, two or more of them.
-- Reads components.models and components.parents.
with
edges as (select child_id, parent_id from components.parents where is_kept),
children as (select parent_id as model_id, count(*) as n_children from edges group by all),
leaves as (
    select child_id as model_id, string_agg(parent_id, ' + ' order by parent_id) as hub_id
    from edges
    where child_id not in (select parent_id from edges)
    group by child_id
),
hubs as (select hub_id from leaves group by hub_id having count(*) > 1)
select
    models.model_id,
    coalesce(models.downloads_30d, 0) as downloads,
    coalesce(children.n_children, 0) as n_children,
    hubs.hub_id
from components.models as models
left join children using (model_id)
left join leaves using (model_id)
left join hubs using (hub_id)
order by models.model_id
