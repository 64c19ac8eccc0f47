-- Models of the map, the oldest first, with the place that each had on the last one.
select m.model_id, p.x, p.y
from components.models as m
left join last_positions as p on p.model_id = m.model_id
order by m.created_at nulls last, m.model_id
