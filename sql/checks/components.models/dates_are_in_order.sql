-- No model is changed before it was created, and none is created after the day of its snapshot.
-- severity: warning
select snapshot, model_id, created_at, last_modified_at
from components.models
where created_at > last_modified_at or created_at >= snapshot::timestamptz + interval 2 day
