-- A child is deeper than each of its parents.
-- reads: components.parents
select p.snapshot, p.child_id, p.parent_id, c.depth, q.depth as parent_depth
from components.parents as p
join components.impact as c on c.snapshot = p.snapshot and c.model_id = p.child_id
join components.impact as q on q.snapshot = p.snapshot and q.model_id = p.parent_id
where p.is_kept and c.depth <= q.depth
