-- An accuracy is over models and stands wherever there are some; weight clusters are scored by pairs instead.
select region_id, method, documentation, matching, subset, breakdown, breakdown_value, n_models, accuracy
from edges.scores
where (n_models > 0 and breakdown <> 'regions') <> (accuracy is not null)
