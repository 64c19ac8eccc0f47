-- Models by what they say about themselves, for each modality and for all.
-- Reads components.models, components.parents and attributes.evaluations.
with
listed as (select * from components.models where presence <> 'removed'),
children as (select distinct child_id as model_id from components.parents where is_kept),
-- A leaderboard is not the model's own word.
evaluated as (select distinct model_id from attributes.evaluations where source <> 'leaderboard' or len(sources) > 1),
-- What nobody in the snapshot says, its source does not hold. Cards are told of where some model is known to have none,
-- or where they are known of all.
told as (
    select
        coalesce(bool_or(not has_card), false) or count(has_card) = count(*) as card,
        count(license) > 0 as license,
        count(pipeline_tag) > 0 as pipeline_tag,
        count(library_name) > 0 as library_name,
        count(model_type) > 0 as model_type,
        exists (from evaluated) as evaluation
    from listed
),
-- True where a model says it, false where it does not, null where the snapshot cannot tell.
said as (
    select
        coalesce(m.modality, 'unknown') as modality,
        case when told.card then m.has_card end as card,
        children.model_id is not null as parents,
        case when told.license then m.license is not null end as license,
        case when told.pipeline_tag then m.pipeline_tag is not null end as pipeline_tag,
        case when told.library_name then m.library_name is not null end as library_name,
        case when told.model_type then m.model_type is not null end as model_type,
        case when told.evaluation then evaluated.model_id is not null end as evaluation
    from listed as m
    cross join told
    left join children using (model_id)
    left join evaluated using (model_id)
),
counted as (
    select
        case when grouping(modality) = 1 then 'all' else modality end as modality,
        unnest([
            {item: 'card', n_models: count(card), n_documented: count(*) filter (where card)},
            {item: 'parents', n_models: count(parents), n_documented: count(*) filter (where parents)},
            {item: 'license', n_models: count(license), n_documented: count(*) filter (where license)},
            {item: 'pipeline_tag', n_models: count(pipeline_tag), n_documented: count(*) filter (where pipeline_tag)},
            {item: 'library_name', n_models: count(library_name), n_documented: count(*) filter (where library_name)},
            {item: 'model_type', n_models: count(model_type), n_documented: count(*) filter (where model_type)},
            {item: 'evaluation', n_models: count(evaluation), n_documented: count(*) filter (where evaluation)}
        ], recursive := true)
    from said
    group by grouping sets ((modality), ())
)
select
    getvariable('snapshot') as snapshot, modality, item, n_models, n_documented,
    case when n_models > 0 then n_documented / n_models end as share
from counted
order by modality, item
