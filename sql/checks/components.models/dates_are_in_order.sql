-- No model is changed before it was created, and none is created later than the day after its snapshot: a source may
-- be dated in a time zone other than UTC.
-- severity: warning
select snapshot, model_id, created_at, last_modified_at
from components.models
where created_at > last_modified_at or created_at >= try_cast(snapshot as timestamptz) + interval 2 day
