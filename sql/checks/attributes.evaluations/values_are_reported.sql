-- An evaluation is one of its source's results, in the same unit and without a problem.
-- reads: attributes.results
select e.snapshot, e.model_id, e.benchmark, e.metric, e.source, e.value
from attributes.evaluations as e
anti join attributes.results as r
    on r.snapshot = e.snapshot and r.model_id = e.model_id and r.benchmark = e.benchmark and r.metric = e.metric
    and r.source = e.source and r.leaderboard = e.leaderboard and r.value = e.value and r.unit = e.unit
    and r.problem is null
