-- Both ends of a kept edge are models of the snapshot, restored ones included. Red: a restored parent was lost.
-- reads: components.parents
select parents.snapshot, child_id, parent_id
from components.parents as parents
where is_kept and (
    not exists (
        from components.models as m where m.snapshot = parents.snapshot and m.model_id = parents.child_id)
    or not exists (
        from components.models as m where m.snapshot = parents.snapshot and m.model_id = parents.parent_id)
)
