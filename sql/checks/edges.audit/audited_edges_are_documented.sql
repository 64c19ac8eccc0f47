-- An audited edge is a kept documented edge of the latest snapshot, with its relation and its sources. Red: the documents
-- have changed since the partition was audited.
-- reads: components.parents
select a.child_id, a.parent_id, a.declared_relation, p.relation, p.sources
from edges.audit as a
left join components.parents as p
    on p.child_id = a.child_id and p.parent_id = a.parent_id and p.is_kept
    and p.snapshot = (select max(snapshot) from components.parents)
where a.declared_relation is distinct from p.relation or a.declared_sources is distinct from p.sources
