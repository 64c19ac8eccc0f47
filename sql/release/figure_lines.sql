-- Edges between models of the largest components, of each only the most downloaded ones.
select e.*
from figure_edges as e
join figure_models as c on c.model_id = e.child_id
where e.component <= getvariable('n_components')
    and (e.place <= getvariable('share') or c.component_size < getvariable('least_models'))
order by e.child_id, e.parent_id
