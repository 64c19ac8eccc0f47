-- Models of the largest components, of each only the most downloaded ones, and how many there are.
select *
from figure_models
where component <= getvariable('n_components')
    and (place <= getvariable('share') or component_size < getvariable('least_models'))
order by place desc, model_id
