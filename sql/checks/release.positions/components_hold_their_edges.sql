-- Both ends of an edge are in one component: a map cut out by component has all edges of its models.
-- reads: edges.charted
select e.child_id, e.parent_id, c.component_id as child_component, p.component_id as parent_component
from edges.charted as e
join release.positions as c on c.model_id = e.child_id
join release.positions as p on p.model_id = e.parent_id
where c.component_id <> p.component_id
