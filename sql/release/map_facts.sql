-- What the map says of itself.
select
    (select max(snapshot) from components.models) as snapshot,
    coalesce(min(created) filter (where created >= 0), 0) as first_day,
    coalesce(max(created), 0) as last_day,
    coalesce(min(x), 0.0) as least_x, coalesce(max(x), 0.0) as greatest_x,
    coalesce(min(y), 0.0) as least_y, coalesce(max(y), 0.0) as greatest_y,
    -- Components are numbered by size: from here on models stand alone.
    coalesce(min(component) filter (where component_size = 1), count(*)) as alone_from
from map_models
