-- Models by the number of items that they document, of the latest snapshot.
select n_items, share, n_models
from trends.documentation_levels
where snapshot = (select max(snapshot) from trends.documentation_levels) and modality = 'all'
order by n_items
