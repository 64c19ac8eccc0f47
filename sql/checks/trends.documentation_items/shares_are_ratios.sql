-- A share is those that say it of those that the snapshot can tell of, and null of none.
select snapshot, modality, item, n_models, n_documented, share
from trends.documentation_items
where share is distinct from case when n_models > 0 then n_documented / n_models end
