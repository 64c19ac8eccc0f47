-- Names the components and sends each to the partition in which it is charted.
-- Reads components.models and components.parents, labels(model_id, component, n_descendants), and
-- same_families(model_type, family) of folded names.
with
typed as (
    -- qwen2_moe, qwen2moe and Qwen2MoeForCausalLM are one: GGUF and config.json write names in their own ways.
    select
        model_id, created_at,
        nullif(regexp_replace(lower(coalesce(
            nullif(model_type, ''),
            regexp_replace(architecture, '(LMHead)?(Model|For[A-Z][A-Za-z0-9]*)$', '')
        )), '[^a-z0-9]', '', 'g'), '') as folded
    from components.models
),
members as (
    select
        labels.model_id, labels.component, labels.n_descendants, typed.created_at,
        coalesce(same_families.family, typed.folded) as family,
        labels.model_id not in (select child_id from components.parents where is_kept) as is_source
    from labels
    join typed using (model_id)
    left join same_families on same_families.model_type = typed.folded
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
        mode(family order by family) as family
    from members semi join (select component from sizes where region_size > 1) using (component)
    group by component
    union all
    -- Most models stand alone.
    select component, 1, model_id, model_id, family
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
        -- Of a small hub nothing is lost by comparing everything with everything, whatever the models are said to be.
        when (select count(*) from labels) < getvariable('large_region_models') then 'bucket-00'
        when families.n_models >= getvariable('large_region_models') then 'type-' || left(families.family, 100)
        else 'bucket-' || lpad((('0x' || substr(md5(families.family), 1, 4))::int % getvariable('n_buckets'))::varchar, 2, '0')
    end as region_partition
from members
join named using (component)
join families on families.family = coalesce(named.family, 'unknown')
order by members.model_id
