-- How the charting methods did, with the documented edges at hand and with them hidden.
select
    method, documentation, subset, sum(n_models)::bigint as n_models,
    sum(accuracy * n_models) / sum(n_models) as accuracy, avg(f1) as mean_f1
from edges.scores
where breakdown = 'all' and accuracy is not null and (documentation = 'hidden') = (subset = 'all')
group by all
order by documentation, accuracy desc;
