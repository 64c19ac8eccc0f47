-- Who arrives has been sampled.
-- reads: features.models
select child_id
from edges.arrivals as a
where not exists (from features.models where model_id = a.child_id and status = 'ok')
