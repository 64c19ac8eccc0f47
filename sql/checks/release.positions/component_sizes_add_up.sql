-- A component's size is the number of its models.
select component_id, count(*) as n_models, min(component_size) as least_size, max(component_size) as greatest_size
from release.positions
group by component_id
having count(*) <> min(component_size) or count(*) <> max(component_size)
