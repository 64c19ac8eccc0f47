-- The value lies between the least and the greatest that are reported, and its source is one of those listed.
select snapshot, model_id, benchmark, metric, value, least, greatest, source, sources
from attributes.evaluations
where not (value between least and greatest)
    or not list_contains(sources, source)
    or len(sources) > n_results
