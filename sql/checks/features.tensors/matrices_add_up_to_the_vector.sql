-- The neurons of a model's matrices are those of its vector, and only a sampled model has any.
-- reads: features.models
select model_id, models.n_neurons, tensors.n_neurons as n_in_matrices
from features.models as models
full join (select model_id, sum(n_neurons) as n_neurons from features.tensors group by model_id) as tensors
    using (model_id)
where models.n_neurons is distinct from coalesce(tensors.n_neurons, 0)
