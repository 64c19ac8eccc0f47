-- Each model of the snapshot is in exactly one region.
-- reads: components.models
select coalesce(m.snapshot, r.snapshot) as snapshot, m.model_id, r.region_id
from components.models as m
full join components.regions as r on r.snapshot = m.snapshot and r.model_id = m.model_id
where m.model_id is null or r.model_id is null
