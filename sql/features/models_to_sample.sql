-- The models of one partition, with the base that an adapter's documentation names, and whether each is left out:
-- where 'leaves_per_node' is not 0, a parent keeps so many of its leaves, drawn by the seed (paper, App. D). A leaf of
-- several parents stays if one of them keeps it.
-- Reads components.regions, models and parents of the latest snapshot.
with
edge as (
    select child_id, parent_id, relation from components.parents where is_kept
),
leaf as (
    select child_id, parent_id from edge where child_id not in (select parent_id from edge)
),
drawn as (
    select
        child_id,
        row_number() over (
            partition by parent_id order by md5(getvariable('seed') || ' ' || child_id), child_id
        ) <= getvariable('leaves_per_node') as is_drawn
    from leaf
),
pruned as (
    select child_id from drawn where getvariable('leaves_per_node') > 0 group by child_id having not bool_or(is_drawn)
),
base as (
    select child_id, min(parent_id) as base_id from edge where relation = 'adapter' group by child_id
)
select
    regions.model_id,
    regions.region_id,
    base.base_id,
    pruned.child_id is not null as is_pruned
from components.regions as regions
join components.models as models using (model_id)
left join base on base.child_id = regions.model_id
left join pruned on pruned.child_id = regions.model_id
where regions.region_partition = getvariable('partition')
order by regions.model_id
