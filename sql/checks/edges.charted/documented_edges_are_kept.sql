-- An edge that says it is documented is a kept edge of the latest snapshot, with its relation. Red: the documents have
-- changed since the partition was charted.
-- reads: components.parents
select e.child_id, e.parent_id, e.relation, p.relation as documented_relation
from edges.charted as e
left join components.parents as p
    on p.child_id = e.child_id and p.parent_id = e.parent_id and p.is_kept
    and p.snapshot = (select max(snapshot) from components.parents)
where e.origin = 'documented' and e.relation is distinct from p.relation
