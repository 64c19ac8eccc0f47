-- A model that could not be sampled says why, and one that was has neurons in a vector group.
select model_id, status, n_neurons, vector_group, error
from features.models
where (status = 'ok') <> (vector_group is not null and n_neurons > 0)
    or (status not in ('ok', 'metadata_only') and error is null)
