-- Both ends of an edge are models of the latest snapshot.
-- reads: components.models
with latest as (select model_id from components.models where snapshot = (select max(snapshot) from components.models))
select child_id, parent_id
from edges.charted as e
where not exists (from latest where model_id = e.child_id) or not exists (from latest where model_id = e.parent_id)
