-- All methods of a region are scored on the same models, or their figures cannot be compared.
select region_id, documentation, matching, subset, min(n_models) as fewest, max(n_models) as most
from edges.scores
where breakdown = 'all'
group by all
having min(n_models) <> max(n_models)
