-- Parent and child of a kept edge are in one region.
-- reads: components.parents
select p.snapshot, p.child_id, p.parent_id
from components.parents as p
join components.regions as c on c.snapshot = p.snapshot and c.model_id = p.child_id
join components.regions as r on r.snapshot = p.snapshot and r.model_id = p.parent_id
where p.is_kept and c.region_id <> r.region_id
