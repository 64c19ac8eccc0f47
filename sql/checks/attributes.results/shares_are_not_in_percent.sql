-- A share lies between 0 and 1. Correlations may reach -1, and rates of errors and differences exceed 1, but not by far.
select snapshot, model_id, source, position, benchmark, metric, reported_value, value
from attributes.results
where unit = 'share' and not (value between -3 - 1e-9 and 3 + 1e-9)
