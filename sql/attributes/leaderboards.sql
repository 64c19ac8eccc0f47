-- The greatest of the values that the files give for one (model, leaderboard, benchmark).
-- Reads given(model_id, leaderboard, benchmark, value) and components.models.
select
    getvariable('snapshot') as snapshot,
    models.model_id,
    given.benchmark,
    'score' as metric,
    max(given.value) as value,
    'leaderboard' as source,
    given.leaderboard
from given
join components.models as models on models.model_id = given.model_id
where isfinite(given.value) and given.benchmark <> '' and given.leaderboard <> ''
group by models.model_id, given.benchmark, given.leaderboard
order by models.model_id, given.leaderboard, given.benchmark
