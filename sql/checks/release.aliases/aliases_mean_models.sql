-- A name means a model of the latest snapshot, and is not itself the name of one that is there.
-- reads: components.models
with latest as (from components.models where snapshot = (select max(snapshot) from components.models))
select alias, model_id
from release.aliases as a
where not exists (from latest as m where m.model_id = a.model_id)
    or exists (from latest as m where m.model_id = a.alias and m.presence <> 'removed')
