-- The largest components of two models or more, each to be a file of its own.
select component_id
from graph_nodes
group by component_id
order by count(*) desc, component_id
limit getvariable('n_regions')
