-- How far the confidence of charted edges can be believed: the bins of all regions added up, documentation hidden.
select
    method, matching, breakdown_value as confidence, sum(n_edges)::bigint as n_edges,
    sum(mean_confidence * n_edges) / sum(n_edges) as mean_confidence,
    sum(precision * n_edges) / sum(n_edges) as share_right
from edges.scores
where breakdown = 'confidence' and documentation = 'hidden' and subset = 'all'
group by all
order by method, matching, confidence;
