-- All methods of one attribute and protocol are scored on the same number of models: other figures cannot be compared.
select snapshot, attribute, protocol, min(n_models) as fewest, max(n_models) as most
from attributes.scores
group by all
having min(n_models) <> max(n_models)
