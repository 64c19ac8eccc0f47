-- Pairs of models that have sampled matrices in common bit by bit: copies, and children with untouched layers.
with
matrix as (
    select tensors.*, models.vector_group, count(*) over (partition by model_id) as n_sampled
    from features.tensors as tensors
    join features.models as models using (model_id)
)
select
    a.model_id,
    b.model_id as other_id,
    count(*) as n_equal,
    any_value(a.n_sampled) as n_of_first
from matrix as a
join matrix as b using (vector_group, tensor, rows_sha256)
where a.model_id < b.model_id
group by all
order by n_equal / n_of_first desc, n_equal desc, a.model_id, other_id
