-- A result is of a model of the snapshot, and a leaderboard is named for what stands on one and nothing else.
-- reads: components.models
select r.snapshot, r.model_id, r.source, r.leaderboard, r.position
from attributes.results as r
left join components.models as m on m.snapshot = r.snapshot and m.model_id = r.model_id
where m.model_id is null
    or r.source <> 'leaderboard' and r.leaderboard <> ''
    or r.source = 'leaderboard' and r.leaderboard = '' and r.problem is null
