-- Both ends of an edge are models of the latest snapshot.
-- reads: components.models
select child_id, parent_id
from edges.charted
where child_id not in (select model_id from components.models where snapshot = (select max(snapshot) from components.models))
    or parent_id not in (select model_id from components.models where snapshot = (select max(snapshot) from components.models))
