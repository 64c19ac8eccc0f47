-- region_size is the number of models in the region, and each region has at least one source model.
select snapshot, region_id, any_value(region_size) as region_size, count(*) as n_models
from components.regions
group by snapshot, region_id
having count(*) <> any_value(region_size) or not bool_or(is_source)
