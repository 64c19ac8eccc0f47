-- Results in the model-index of the cards: one row for each (model, data set, metric), the first that stands there.
-- Reads raw.hub_stats and components.models.
with
cards as (
    select id as model_id, try_cast(cardData as json) as card
    from raw.hub_stats
    where not is_rejected and contains(cardData, 'model-index')
),
listed as (
    select model_id, json_extract(card, '$."model-index"[*].results[*]') as results from cards
),
results as (
    select model_id, unnest(results) as result, generate_subscripts(results, 1) as position from listed
),
reported as (
    select
        model_id,
        position,
        coalesce(nullif(result ->> '$.dataset.name', ''), nullif(result ->> '$.dataset.type', '')) as benchmark,
        json_extract(result, '$.metrics[*]') as metrics
    from results
),
metrics as (
    select model_id, position, benchmark, unnest(metrics) as metric, generate_subscripts(metrics, 1) as place
    from reported
),
named as (
    select
        model_id, position, place, benchmark,
        coalesce(nullif(metric ->> '$.name', ''), nullif(metric ->> '$.type', '')) as metric,
        case when json_type(metric, '$.value') <> 'BOOLEAN' then try_cast(metric ->> '$.value' as double) end as value
    from metrics
)
select
    getvariable('snapshot') as snapshot, model_id, benchmark, metric, value, 'model_index' as source, '' as leaderboard
from named
join components.models using (model_id)
where benchmark is not null and metric is not null and isfinite(value)
qualify row_number() over (partition by model_id, benchmark, metric order by position, place) = 1
order by model_id, benchmark, metric
