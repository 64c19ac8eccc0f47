-- No source that is trusted more has a result without a problem for the same benchmark and metric, none is left out.
-- reads: attributes.results
with ranks(source, trust) as (
    values ('leaderboard', 1), ('model_index', 2), ('card_table', 3), ('llm', 4)
)
select r.snapshot, r.model_id, r.benchmark, r.metric, r.source, e.source as winner
from attributes.results as r
join ranks as own on own.source = r.source
left join attributes.evaluations as e
    on e.snapshot = r.snapshot and e.model_id = r.model_id and e.benchmark = r.benchmark and e.metric = r.metric
left join ranks as won on won.source = e.source
where r.problem is null and (won.trust is null or own.trust < won.trust)
