-- Models of the map, in the order of their numbers.
select * exclude (number) from map_models order by number
