-- A neuron has at most as many different values as numbers, and a matrix gives at most the neurons that it has.
select model_id, tensor, n_rows, n_neurons, n_columns, min_distinct_values, max_distinct_values
from features.tensors
where min_distinct_values > max_distinct_values or max_distinct_values > n_columns or n_neurons > n_rows
