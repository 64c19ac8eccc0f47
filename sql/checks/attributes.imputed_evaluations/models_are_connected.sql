-- Only models with a kept edge can be near an evaluated one.
-- reads: components.parents
with models as (
    select snapshot, child_id as model_id from components.parents where is_kept
    union
    select snapshot, parent_id from components.parents where is_kept
)
select i.snapshot, i.model_id
from attributes.imputed_evaluations as i
anti join models as m on m.snapshot = i.snapshot and m.model_id = i.model_id
