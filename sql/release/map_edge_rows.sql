-- Edges of the map, piece by piece.
select * from map_edges order by piece, child, parent
