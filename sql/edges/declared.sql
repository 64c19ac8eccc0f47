-- Kept documented edges whose child belongs to the partition, with what was sampled of both ends.
-- Reads components.parents, claims, regions and models of the latest snapshot, features.models, features.tensors and
-- distances.neighbors of the partition.
with
rounded as (select distinct model_id from features.tensors where hidden_quantization is not null),
clusters as (select distinct model_id, region_id from distances.neighbors),
-- Merges list the model that deltas were taken from beside the models that were merged.
bases as (
    select child_id, parent_id, bool_and(role = 'base') as is_merge_base
    from components.claims where role is not null and drop_reason is null
    group by child_id, parent_id
),
sampled as (
    select features.*, rounded.model_id is not null as has_hidden_quantization
    from features.models as features left join rounded using (model_id)
)
select
    parents.child_id,
    parents.parent_id,
    coalesce(clusters.region_id, regions.region_id) as region_id,
    parents.relation,
    parents.sources,
    coalesce(bases.is_merge_base, false) as is_merge_base,
    -- A date that is a floor says only that the model is older still.
    case when not (child.created_at_is_floor or parent.created_at_is_floor)
        then (epoch(child.created_at) - epoch(parent.created_at)) / 86400 end as days_apart,
    child_sample.status as child_status,
    child_sample.format as child_format,
    child_sample.vector_group as child_group,
    child_sample.content_sha256 as child_sha256,
    child_sample.shapes_sha256 as child_shapes,
    coalesce(child_sample.is_quantized, false) as child_is_quantized,
    coalesce(child_sample.has_hidden_quantization, false) as child_has_hidden_quantization,
    child_sample.base_id as child_base_id,
    parent_sample.status as parent_status,
    parent_sample.format as parent_format,
    parent_sample.vector_group as parent_group,
    parent_sample.content_sha256 as parent_sha256,
    parent_sample.shapes_sha256 as parent_shapes
from components.parents as parents
join components.regions as regions on regions.model_id = parents.child_id
join components.models as child on child.model_id = parents.child_id
join components.models as parent on parent.model_id = parents.parent_id
left join bases on bases.child_id = parents.child_id and bases.parent_id = parents.parent_id
left join clusters on clusters.model_id = parents.child_id
left join sampled as child_sample on child_sample.model_id = parents.child_id
left join sampled as parent_sample on parent_sample.model_id = parents.parent_id
where parents.is_kept and regions.region_partition = getvariable('partition')
order by parents.child_id, parents.parent_id
