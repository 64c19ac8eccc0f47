-- Where terms were lost, the edge at which that began is a kept edge of the documented atlas, and only there is one named.
-- reads: components.parents
-- severity: error
select l.snapshot, l.model_id, l.lost_at_parent_id, l.lost_at_child_id
from attributes.license_lineage as l
left join components.parents as p
    on p.snapshot = l.snapshot and p.child_id = l.lost_at_child_id and p.parent_id = l.lost_at_parent_id and p.is_kept
where (len(l.lost_terms) > 0) <> (p.child_id is not null) or (l.lost_at_child_id is null) <> (l.lost_at_parent_id is null)
