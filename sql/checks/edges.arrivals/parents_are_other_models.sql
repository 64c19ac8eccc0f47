-- The parent of an arrival is another model, and one of the latest snapshot.
-- reads: components.models
with latest as (select model_id from components.models where snapshot = (select max(snapshot) from components.models))
select child_id, parent_id
from edges.arrivals as a
where a.child_id = a.parent_id or not exists (from latest where model_id = a.parent_id)
