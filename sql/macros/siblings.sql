-- Models that share a parent with a model: one row per sibling and shared parent.
create macro siblings(id) as table
select e.child_id as model_id, e.parent_id, e.relation, e.origin, e.confidence
from edges.charted as e
where e.parent_id in (select parent_id from edges.charted where child_id = id) and e.child_id <> id
order by e.parent_id, model_id;
