-- Merged models beside their siblings. Merged is who has a kept merge edge; siblings are the other children of the same
-- parents; a group is the children that one parent has within one modality (or all). Every model counts once in a mean,
-- in however many groups it is; one whose downloads are unknown is left out of the mean of downloads.
-- Reads components.models, components.parents and components.impact.
with
edges as (
    select
        parent_id, child_id, coalesce(models.modality, 'unknown') as modality,
        bool_or(relation = 'merge') over (partition by child_id) as is_merged
    from components.parents join components.models as models on models.model_id = child_id
    where is_kept
),
groups as (
    select modality, parent_id, child_id as model_id, is_merged
    from (from edges union all by name select parent_id, child_id, 'all' as modality, is_merged from edges)
    qualify bool_or(is_merged) over (partition by modality, parent_id)
),
measured as (
    select groups.*, downloads_30d, descendant_downloads, sub_tree_downloads, path_counted_downloads
    from groups
    join components.impact using (model_id)
    join components.models using (model_id)
),
-- Means of whole numbers are exact; real ones add up to the same last digit only in the same order.
means as (
    select
        modality,
        is_merged,
        count(*) as n,
        unnest([
            {measure: 'downloads', mean: avg(downloads_30d)},
            {measure: 'descendant_downloads', mean: avg(descendant_downloads)},
            {measure: 'sub_tree_downloads', mean: avg(sub_tree_downloads)},
            {measure: 'path_counted_downloads',
                mean: list_avg(list(path_counted_downloads order by path_counted_downloads))}
        ], recursive := true)
    from (select distinct on (modality, model_id) * from measured)
    group by modality, is_merged
),
group_means as (
    select
        modality,
        parent_id,
        is_merged,
        unnest([
            {measure: 'downloads', mean: avg(downloads_30d)},
            {measure: 'descendant_downloads', mean: avg(descendant_downloads)},
            {measure: 'sub_tree_downloads', mean: avg(sub_tree_downloads)},
            {measure: 'path_counted_downloads',
                mean: list_avg(list(path_counted_downloads order by path_counted_downloads))}
        ], recursive := true)
    from measured
    group by modality, parent_id, is_merged
),
ahead as (
    select modality, measure, avg((merged.mean > others.mean)::bigint) as share_of_groups_ahead
    from group_means as merged
    join group_means as others using (modality, parent_id, measure)
    where merged.is_merged and not others.is_merged and merged.mean is not null and others.mean is not null
    group by modality, measure
)
select
    getvariable('snapshot') as snapshot,
    modality,
    measure,
    merged.n as n_merged,
    coalesce(others.n, 0) as n_siblings,
    merged.mean as mean_merged,
    others.mean as mean_siblings,
    merged.mean / nullif(others.mean, 0) as ratio,
    share_of_groups_ahead
from (from means where is_merged) as merged
left join (from means where not is_merged) as others using (modality, measure)
left join ahead using (modality, measure)
order by modality, measure
