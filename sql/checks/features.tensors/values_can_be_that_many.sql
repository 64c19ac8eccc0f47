-- A neuron has at most as many different values as numbers.
select model_id, tensor, n_columns, min_distinct_values, max_distinct_values
from features.tensors
where min_distinct_values > max_distinct_values or max_distinct_values > n_columns
