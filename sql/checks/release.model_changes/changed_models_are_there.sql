-- New and changed models are models of the latest snapshot, gone ones are not, and what is changed says how.
-- reads: components.models
with latest as (select model_id from components.models where snapshot = (select max(snapshot) from components.models))
select model_id, change
from release.model_changes as c
where (change = 'gone') = exists (from latest where latest.model_id = c.model_id)
    or (change = 'changed') <> (len(differences) > 0)
