-- Labels have accuracy, correct over scored, and null where nothing was scored; results have errors instead.
select snapshot, attribute, protocol, method, n_models, n_correct, accuracy, mse, mae
from attributes.scores
where accuracy is distinct from case when n_models > 0 and n_correct is not null then n_correct / n_models end
    or (mse is null) <> (mae is null)
    or mse is not null and n_correct is not null
    or n_models > 0 and mse is null and n_correct is null
