-- How models with a kept parent were made, by quarter of their creation: of all, by modality, and by family. Families
-- are the twelve largest regions; the rest is one family more, other. A model counts for a technique if one of its kept
-- edges has that relation, so that the shares of a group need not add up to one.
-- Reads components.models, components.parents and components.regions.
with
children as (
    select
        child_id as model_id,
        bool_or(relation = 'finetune') as finetune,
        bool_or(relation = 'adapter') as adapter,
        bool_or(relation = 'quantized') as quantized,
        bool_or(relation = 'merge') as merge,
        bool_or(relation = 'duplicate') as duplicate
    from components.parents
    where is_kept
    group by child_id
),
families as (
    select region_id, any_value(region_name) as family
    from components.regions
    where region_size > 1
    group by region_id
    order by count(*) desc, region_id
    limit 12
),
made as (
    select
        children.*,
        coalesce(models.modality, 'unknown') as modality,
        coalesce(families.family, 'other') as family,
        case when not models.created_at_is_floor then date_trunc('quarter', models.created_at) end as quarter_at
    from children
    join components.models as models using (model_id)
    join components.regions as regions using (model_id)
    left join families using (region_id)
),
counted as (
    select
        case when grouping(modality) = 0 then 'modality' when grouping(family) = 0 then 'family' else 'all' end
            as "grouping",
        case when grouping(modality) = 0 then modality when grouping(family) = 0 then family else 'all' end as "group",
        quarter_at,
        count(*) as n_models,
        unnest([
            {technique: 'finetune', n_using: count(*) filter (where finetune)},
            {technique: 'adapter', n_using: count(*) filter (where adapter)},
            {technique: 'quantized', n_using: count(*) filter (where quantized)},
            {technique: 'merge', n_using: count(*) filter (where merge)},
            {technique: 'duplicate', n_using: count(*) filter (where duplicate)}
        ], recursive := true)
    from made
    group by grouping sets ((quarter_at), (modality, quarter_at), (family, quarter_at))
)
select
    getvariable('snapshot') as snapshot, "grouping", "group", quarter_at, technique, n_models,
    n_using::bigint as n_using, n_using / n_models as share
from counted
order by "grouping", "group", quarter_at, technique
