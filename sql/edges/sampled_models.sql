-- The sampled models of one partition with what charting needs to know of each.
-- Reads features.models and distances.neighbors of the partition, components.models of the latest snapshot.
select
    features.model_id,
    coalesce(clusters.region_id, features.region_id) as region_id,
    features.vector_group,
    epoch(models.created_at) as created_at,
    models.created_at_is_floor,
    features.is_quantized,
    features.format = 'adapter' as is_adapter,
    features.content_sha256,
    features.shapes_sha256,
    features.base_id
from features.models as features
join components.models as models using (model_id)
left join (select distinct model_id, region_id from distances.neighbors) as clusters using (model_id)
where features.status = 'ok'
order by features.model_id
