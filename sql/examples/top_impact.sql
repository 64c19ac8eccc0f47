-- The ten models that most downloads rest on: their own and those of everything made from them.
select model_id, downloads_30d, sub_tree_downloads, n_descendants, license
from atlas_models
order by sub_tree_downloads desc, model_id
limit 10;
