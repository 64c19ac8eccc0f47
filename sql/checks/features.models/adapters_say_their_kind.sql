-- An adapter that was sampled says its kind and rank, and either names its base or gives its change alone.
select model_id, format, adapter_kind, adapter_rank, base_id, is_delta
from features.models
where status = 'ok'
    and (
        (format = 'adapter') <> (adapter_kind is not null)
        or (format = 'adapter') <> (is_delta is not null)
        or is_delta is not distinct from (base_id is not null)
    )
