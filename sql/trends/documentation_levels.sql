-- Models by how many of the items of trends.documentation_items they say, for each modality and for all.
-- Reads components.models, components.parents and attributes.evaluations.
with
listed as (select * from components.models where presence <> 'removed'),
children as (select distinct child_id as model_id from components.parents where is_kept),
evaluated as (select distinct model_id from attributes.evaluations where source <> 'leaderboard' or len(sources) > 1),
-- As for the items: where the snapshot cannot tell who has no card, those that are known count for nothing.
told as (select coalesce(bool_or(not has_card), false) or count(has_card) = count(*) as card from listed),
said as (
    select
        coalesce(m.modality, 'unknown') as modality,
        (told.card and coalesce(m.has_card, false))::bigint + (children.model_id is not null)::bigint
        + (m.license is not null)::bigint + (m.pipeline_tag is not null)::bigint + (m.library_name is not null)::bigint
        + (m.model_type is not null)::bigint + (evaluated.model_id is not null)::bigint as n_items
    from listed as m
    cross join told
    left join children using (model_id)
    left join evaluated using (model_id)
),
counted as (
    select case when grouping(modality) = 1 then 'all' else modality end as modality, n_items, count(*) as n_models
    from said
    group by grouping sets ((modality, n_items), (n_items))
)
select
    getvariable('snapshot') as snapshot, modality, n_items, n_models,
    n_models / sum(n_models) over (partition by modality) as share
from counted
order by modality, n_items
