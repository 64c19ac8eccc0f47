-- region_size is the number of models in the region, which has one name, one partition and at least one source model.
select snapshot, region_id, min(region_size) as least_size, max(region_size) as greatest_size, count(*) as n_models
from components.regions
group by snapshot, region_id
having count(*) <> min(region_size) or count(*) <> max(region_size) or not bool_or(is_source)
    or count(distinct region_name) > 1 or count(distinct region_partition) > 1
