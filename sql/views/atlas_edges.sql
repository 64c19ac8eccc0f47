-- Every edge of the atlas, documented and charted, with what is known of its two ends; one row per (child, parent).
create view atlas_edges as
select
    e.*, c.created_at as child_created_at, p.created_at as parent_created_at, c.license as child_license,
    p.license as parent_license, c.downloads_30d as child_downloads_30d
from edges.charted as e
left join atlas_models as c on c.model_id = e.child_id
left join atlas_models as p on p.model_id = e.parent_id;
