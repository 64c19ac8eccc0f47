-- Who is called removed is a removed model of the same snapshot.
-- reads: components.models
select r.snapshot, r.model_id, m.presence
from trends.removed_models as r
left join components.models as m on m.snapshot = r.snapshot and m.model_id = r.model_id
where m.presence is distinct from 'removed'
