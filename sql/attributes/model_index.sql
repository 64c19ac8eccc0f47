-- Results in the model-index of the cards: one row for each (model, data set, metric), the first that stands there.
-- Reads raw.hub_stats and components.models.
with
cards as (
    select id as model_id, try_cast(cardData as json) as card
    from raw.hub_stats
    where not is_rejected and contains(cardData, 'model-index')
),
results as (
    select model_id, unnest(json_extract(card, '$."model-index"[*].results[*]')) as result from cards
),
metrics as (
    select
        model_id,
        coalesce(result ->> '$.dataset.name', result ->> '$.dataset.type') as benchmark,
        unnest(json_extract(result, '$.metrics[*]')) as metric
    from results
)
select
    getvariable('snapshot') as snapshot,
    model_id,
    benchmark,
    coalesce(metric ->> '$.name', metric ->> '$.type') as metric,
    try_cast(metric ->> '$.value' as double) as value,
    'model_index' as source,
    '' as leaderboard
from metrics
join components.models using (model_id)
where benchmark is not null and coalesce(metric ->> '$.name', metric ->> '$.type') is not null
    and isfinite(try_cast(metric ->> '$.value' as double))
qualify row_number() over (
    partition by model_id, benchmark, coalesce(metric ->> '$.name', metric ->> '$.type')
    order by try_cast(metric ->> '$.value' as double) desc
) = 1
