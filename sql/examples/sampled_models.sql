-- How the sampling of models went, by format and quantisation: models, neurons, and what share of the bytes was read.
select
    status,
    format,
    quantization,
    count(*) as n_models,
    median(n_neurons)::bigint as median_neurons,
    sum(bytes_read)::bigint as bytes_read,
    round(100 * sum(bytes_read) / nullif(sum(bytes_total), 0), 4) as percent_read,
    min(model_id) as example
from features.models
group by all
order by n_models desc, status, format, quantization
