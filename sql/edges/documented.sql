-- Kept documented edges whose child belongs to the partition.
-- Reads components.parents, regions and models of the latest snapshot, distances.neighbors of the partition.
select
    parents.child_id,
    parents.parent_id,
    parents.relation,
    parents.sources,
    coalesce(clusters.region_id, regions.region_id) as region_id,
    (epoch(child.created_at) - epoch(parent.created_at)) / 86400 as days_apart
from components.parents as parents
join components.regions as regions on regions.model_id = parents.child_id
join components.models as child on child.model_id = parents.child_id
join components.models as parent on parent.model_id = parents.parent_id
left join (select distinct model_id, region_id from distances.neighbors) as clusters
    on clusters.model_id = parents.child_id
where parents.is_kept and regions.region_partition = getvariable('partition')
order by all
