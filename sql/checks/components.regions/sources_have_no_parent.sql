-- A model is a source if and only if no kept edge names a parent of it.
-- reads: components.parents
select r.snapshot, r.model_id, r.is_source
from components.regions as r
where r.is_source = exists (
    from components.parents as p where p.snapshot = r.snapshot and p.child_id = r.model_id and p.is_kept)
