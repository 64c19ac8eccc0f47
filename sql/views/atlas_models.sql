-- The models of the latest snapshot with region, place and impact; one row per model.
create view atlas_models as
select
    m.* exclude (snapshot), r.region_id, r.region_name, r.region_size, r.is_source,
    i.depth, i.is_leaf, i.hub_id, i.n_children, i.n_descendants, i.descendant_downloads, i.sub_tree_downloads
from components.models as m
left join components.regions as r on r.snapshot = m.snapshot and r.model_id = m.model_id
left join components.impact as i on i.snapshot = m.snapshot and i.model_id = m.model_id
where m.snapshot = (select max(snapshot) from components.models);
