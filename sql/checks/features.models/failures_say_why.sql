-- A model that could not be sampled says why and has no neurons; one that was sampled has some in a vector group.
select model_id, status, n_neurons, vector_group, error
from features.models
where (status = 'ok' and (vector_group is null or n_neurons = 0 or sampled_sha256 is null))
    or (status <> 'ok' and (vector_group is not null or n_neurons > 0 or sampled_sha256 is not null))
    or (status not in ('ok', 'metadata_only', 'pruned') and error is null)
