-- Results in the model-index of the cards, one row for each metric of each result, in the order in which they stand.
-- Reads raw.hub_stats, components.cards and components.models. Leaves the table model_index_results.
-- A card's own front matter counts where hub-stats has no model-index of the model.
create or replace temp table model_index_results as
with
listed as (
    select id as model_id, try_cast(cardData as json) as card
    from raw.hub_stats
    where not is_rejected and contains(cardData, 'model-index')
    qualify row_number() over (partition by id order by row_number) = 1
),
own as (
    select model_id, try_cast(metadata as json) as card
    from components.cards
    where contains(metadata, 'model-index')
),
entries as (
    select model_id, json_extract(card, '$."model-index"[*].results[*]') as results from listed
    union all by name
    select model_id, json_extract(card, '$."model-index"[*].results[*]') as results
    from own
    where model_id not in (
        select model_id from listed where len(json_extract(card, '$."model-index"[*].results[*]')) > 0
    )
),
results as (
    select model_id, unnest(results) as result, generate_subscripts(results, 1) as place
    from entries semi join components.models using (model_id)
),
described as (
    select
        model_id, place, json_extract(result, '$.metrics[*]') as metrics,
        coalesce(nullif(trim(result ->> '$.dataset.name'), ''), nullif(trim(result ->> '$.dataset.type'), ''))
            as reported_benchmark,
        -- Cards of before 2022-05 say args where later ones say config; args may also hold settings by name.
        coalesce(
            result ->> '$.dataset.config',
            case json_type(result, '$.dataset.args')
                when 'VARCHAR' then result ->> '$.dataset.args'
                when 'OBJECT' then coalesce(result ->> '$.dataset.args.language', result ->> '$.dataset.args.config')
            end
        ) as reported_config,
        result ->> '$.source.name' as source_name,
        result ->> '$.source.url' as source_url
    from results
),
metrics as (
    select * exclude (metrics), unnest(metrics) as metric, generate_subscripts(metrics, 1) as metric_place
    from described
),
placed as (
    select *, row_number() over (partition by model_id order by place, metric_place) as position from metrics
),
told as (
    -- A card of endless results is read to its first ones; the row after them says so.
    select *, position > getvariable('most_results') as is_too_many
    from placed
    where position <= getvariable('most_results') + 1
)
select
    model_id,
    position,
    left(reported_benchmark, 200) as reported_benchmark,
    left(reported_config, 200) as reported_config,
    left(nullif(trim(metric ->> '$.name'), ''), 200) as reported_metric,
    left(nullif(trim(metric ->> '$.type'), ''), 200) as metric_type,
    left(coalesce(metric ->> '$.value', ''), 200) as reported_value,
    -- The Hub measured what it verified, and a leaderboard's space what stands there.
    not coalesce(
        (metric ->> '$.verified') = 'true'
        or source_name = 'Open LLM Leaderboard'
        or regexp_matches(source_url, '^https?://(www\.)?huggingface\.co/spaces/[^?#]{0,200}leaderboard', 'i'),
        false
    ) as is_self_reported,
    left(source_url, 500) as source_url,
    case
        when is_too_many then 'more results than are read of one card'
        when (metric ->> '$.value') is null then 'no value'
        when json_type(metric, '$.value') = 'BOOLEAN' then 'true or false is no number'
    end as problem
from told;

select count(*) as n_results from model_index_results;
