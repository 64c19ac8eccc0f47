-- A model's impact is its own downloads and those of its descendants, so it is never less than its own.
-- reads: components.models
select i.snapshot, i.model_id, i.sub_tree_downloads, m.downloads_30d
from components.impact as i
join components.models as m on m.snapshot = i.snapshot and m.model_id = i.model_id
where i.sub_tree_downloads <> i.descendant_downloads + coalesce(m.downloads_30d, 0)
    or i.merge_share_downloads < coalesce(m.downloads_30d, 0) - 1e-6
