-- The hundred models that most downloads rest on. Unknown own downloads rank last. Reads components.models and
-- components.impact.
with
ranked as (
    select
        model_id, downloads_30d,
        row_number() over (order by downloads_30d desc nulls last, model_id) as rank_by_downloads
    from components.models
),
top as (from components.impact order by sub_tree_downloads desc, model_id limit 100)
select
    getvariable('snapshot') as snapshot,
    row_number() over (order by sub_tree_downloads desc, model_id) as rank,
    model_id, sub_tree_downloads, downloads_30d, rank_by_downloads, n_descendants, merge_share_downloads,
    path_counted_downloads
from top join ranked using (model_id)
order by rank
