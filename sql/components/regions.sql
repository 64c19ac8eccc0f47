-- Names the components and sends each to the partition in which it is charted.
-- Reads components.models and components.parents, and labels(model_id, component, n_descendants).
with
members as (
    select
        labels.model_id, labels.component, labels.n_descendants, models.created_at, models.model_type,
        labels.model_id not in (select child_id from components.parents where is_kept) as is_source
    from labels join components.models as models using (model_id)
),
sizes as (select component, count(*) as region_size from labels group by component),
named as (
    select
        component,
        count(*) as region_size,
        -- The oldest source stays the same from snapshot to snapshot, so the id rests on it; the name on the source
        -- that most models descend from.
        arg_min(model_id, (created_at is null, created_at, model_id)) filter (is_source) as oldest_source,
        arg_min(model_id, (-n_descendants, created_at is null, created_at, model_id)) filter (is_source) as region_name,
        mode(model_type order by model_type) as family
    from members semi join (select component from sizes where region_size > 1) using (component)
    group by component
    union all
    -- Most models stand alone.
    select component, 1, model_id, model_id, model_type
    from members semi join (select component from sizes where region_size = 1) using (component)
),
families as (
    select coalesce(family, 'unknown') as family, sum(region_size) as n_models from named group by all
)
select
    getvariable('snapshot') as snapshot,
    members.model_id,
    -- a--b/c and a/b--c must not meet. Ids hold no tilde, so what is marked with one is nobody else's.
    case
        when regexp_matches(named.oldest_source, '--|-/|/-') then replace(named.oldest_source, '/', '~') || '~'
        else replace(named.oldest_source, '/', '--')
    end as region_id,
    named.region_name,
    named.region_size,
    members.is_source,
    case
        when families.n_models >= getvariable('large_region_models')
            then 'type-' || left(regexp_replace(families.family, '[^A-Za-z0-9._-]', '_', 'g'), 100)
        else 'bucket-' || lpad((('0x' || substr(md5(families.family), 1, 4))::int % getvariable('n_buckets'))::varchar, 2, '0')
    end as region_partition
from members
join named using (component)
join families on families.family = coalesce(named.family, 'unknown')
order by members.model_id
