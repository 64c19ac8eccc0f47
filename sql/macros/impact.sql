-- How much hangs on a model, in one row: children, descendants, those that are surely such, and downloads of all.
create macro impact(id) as table
select
    id as model_id,
    count(*) filter (where steps = 1) as n_children,
    count(*) as n_descendants,
    count(*) filter (where confidence >= 0.9) as n_sure_descendants,
    coalesce(max(steps), 0) as greatest_depth,
    coalesce(sum(downloads_30d), 0)::bigint as descendant_downloads,
    (
        select max_by(downloads_30d, snapshot) from components.models where model_id = id
    ) as own_downloads
from blast_radius(id);
