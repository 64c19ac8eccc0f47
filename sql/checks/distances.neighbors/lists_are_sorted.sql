-- Neighbours stand nearest first, ranks count from 1 without gaps, and no model is its own neighbour.
select * from (
    select model_id, neighbor_id, rank, squared_distance,
        lag(squared_distance, 1, 0) over own as previous,
        row_number() over own as position
    from distances.neighbors
    window own as (partition by model_id order by rank)
)
where squared_distance < previous or rank <> position or model_id = neighbor_id or isnan(squared_distance)
