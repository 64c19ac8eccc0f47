-- The hub's majority value for every model in a hub, its own vote left out. Reads predictions (labels.sql).
select
    getvariable('snapshot') as snapshot,
    model_id, attribute, value, method, n_votes, n_for / n_votes as confidence, reported_value
from predictions
where method = 'hub_majority'
order by model_id, attribute
