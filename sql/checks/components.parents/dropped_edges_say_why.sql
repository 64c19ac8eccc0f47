-- An edge is kept, or it has a reason; never both, never neither.
select snapshot, child_id, parent_id, is_kept, drop_reason
from components.parents
where is_kept <> (drop_reason is null)
