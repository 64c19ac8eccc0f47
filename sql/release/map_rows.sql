-- Models of the map, in the order of their numbers.
select * exclude (number, component_size) from map_models order by number
