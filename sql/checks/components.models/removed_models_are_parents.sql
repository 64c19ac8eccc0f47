-- A restored model is there because a kept edge names it as a parent.
-- reads: components.parents
select snapshot, model_id
from components.models as models
where presence = 'removed' and not exists (
    from components.parents as p where p.snapshot = models.snapshot and p.parent_id = models.model_id and p.is_kept)
