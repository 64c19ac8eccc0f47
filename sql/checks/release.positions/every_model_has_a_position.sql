-- Each model of the latest snapshot is on the map, and nothing else is.
-- reads: components.models
select m.model_id, p.model_id as model_on_the_map
from (
    select model_id from components.models where snapshot = (select max(snapshot) from components.models)
) as m
full join release.positions as p on p.model_id = m.model_id
where m.model_id is null or p.model_id is null
