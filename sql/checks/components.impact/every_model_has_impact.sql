-- Each model of the snapshot has its row of impact, and no other has one.
-- reads: components.models
select coalesce(m.snapshot, i.snapshot) as snapshot, m.model_id, i.model_id as model_with_impact
from components.models as m
full join components.impact as i on i.snapshot = m.snapshot and i.model_id = m.model_id
where m.model_id is null or i.model_id is null
