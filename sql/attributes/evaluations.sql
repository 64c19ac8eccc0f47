-- One result for each (model, benchmark, metric): that of the most trusted source. Reads attributes.results.
-- Within a source: of leaderboards the greatest value, otherwise what others measured, then what stands first.
with
usable as (
    select
        *,
        case source when 'leaderboard' then 1 when 'model_index' then 2 when 'card_table' then 3 else 4 end as rank
    from attributes.results
    where problem is null
),
chosen as (
    select model_id, benchmark, metric, value, unit, source, leaderboard, source_url
    from usable
    qualify row_number() over (
        partition by model_id, benchmark, metric
        order by rank, case when source = 'leaderboard' then -value end, is_self_reported, leaderboard, position
    ) = 1
),
gathered as (
    -- A metric that no rule knows may have another unit elsewhere: what cannot be compared is not counted.
    select
        model_id, benchmark, metric, unit, list(distinct source order by source) as sources, count(*) as n_results,
        min(value) as least, max(value) as greatest
    from usable
    group by all
)
select
    getvariable('snapshot') as snapshot, model_id, benchmark, metric, value, unit, source, leaderboard, source_url,
    sources, n_results, least, greatest
from chosen join gathered using (model_id, benchmark, metric, unit)
order by model_id, benchmark, metric
