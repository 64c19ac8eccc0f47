-- How the charting methods did, with the documented edges at hand and with them hidden: the exact parents.
-- (edges.scores also has Algorithm 1 without each of its assumptions, and what counts with twins accepted.)
select
    method, documentation, subset, sum(n_models)::bigint as n_models,
    sum(accuracy * n_models) / sum(n_models) as accuracy, avg(f1) as mean_f1
from edges.scores
where breakdown = 'all' and matching = 'strict' and accuracy is not null and not contains(method, '_without_')
    and (documentation = 'hidden') = (subset = 'all')
group by all
order by documentation, accuracy desc, method;
