-- What is gone is no model of the latest snapshot, but for one that children keep in it as removed.
-- reads: components.models
select t.model_id
from release.tombstones as t
join components.models as m on m.model_id = t.model_id
where m.snapshot = (select max(snapshot) from components.models) and m.presence <> 'removed'
