-- Edges on the map, from child to parent; one more than fit into a picture is enough to know that they do not.
select c.x, c.y, p.x as parent_x, p.y as parent_y
from edges.charted as e
join map as c on c.model_id = e.child_id
join map as p on p.model_id = e.parent_id
limit 50001
