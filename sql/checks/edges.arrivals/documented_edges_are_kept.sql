-- An edge that says it is documented is a kept edge of the latest snapshot, with its relation. Red: the documents have
-- changed since the arrivals were charted.
-- reads: components.parents
select a.child_id, a.parent_id, a.relation, p.relation as documented_relation
from edges.arrivals as a
left join components.parents as p
    on p.child_id = a.child_id and p.parent_id = a.parent_id and p.is_kept
    and p.snapshot = (select max(snapshot) from components.parents)
where a.origin = 'documented' and a.relation is distinct from p.relation
