-- Edges between models of the map, with the parent's part in the child.
select parent_id, child_id, coefficient
from edges.charted
where child_id in (select model_id from components.models) and parent_id in (select model_id from components.models)
order by child_id, parent_id
