-- Accuracy is correct over scored, and null where nothing was scored.
select snapshot, attribute, method, n_models, n_correct, accuracy
from attributes.scores
where accuracy is distinct from case when n_models > 0 then n_correct / n_models end
