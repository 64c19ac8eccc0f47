-- A result without a problem names benchmark and metric and has a finite value with its unit.
select snapshot, model_id, source, leaderboard, position, benchmark, metric, value, unit
from attributes.results
where problem is null
    and (coalesce(benchmark, '') = '' or coalesce(metric, '') = '' or unit is null or not coalesce(isfinite(value), false))
