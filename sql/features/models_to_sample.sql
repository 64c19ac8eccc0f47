-- The models of one partition, with the base that an adapter's documentation names.
-- Reads components.regions, models and parents of the latest snapshot.
select
    regions.model_id,
    regions.region_id,
    min(parents.parent_id) filter (parents.relation = 'adapter') as base_id
from components.regions as regions
join components.models as models using (model_id)
left join components.parents as parents on parents.child_id = regions.model_id and parents.is_kept
where regions.region_partition = getvariable('partition')
group by all
order by regions.model_id
