-- Ranks run from one to a hundred at most, by falling impact and then by id, and nobody's impact is less than its own
-- downloads.
with ranked as (
    select
        snapshot, rank, model_id, sub_tree_downloads, downloads_30d,
        row_number() over (partition by snapshot order by sub_tree_downloads desc, model_id) as place
    from trends.top_impact
)
select * from ranked where rank <> place or rank > 100 or sub_tree_downloads < downloads_30d
