-- Share of models that say each thing about themselves, of the latest snapshot.
select item, share, n_models
from trends.documentation_items
where snapshot = (select max(snapshot) from trends.documentation_items) and modality = 'all' and share is not null
order by share desc, item
