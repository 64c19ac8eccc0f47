-- What section 3 of the paper states in words, and sections 1 and 4 of the priors, each as cases of a total, beside the
-- paper's figure. A bound ("over 60 %") is given as the number. Where there is nothing to take a share of, the value is
-- null. Reads components.models, components.parents, components.impact, components.regions, attributes.evaluations.
create or replace temp table edge as
select
    edge.child_id, edge.parent_id, edge.relation,
    parent.is_quantized as parent_is_quantized,
    -- Between two repositories of before the Hub's clock started, dates say nothing.
    case when not (child.created_at_is_floor and parent.created_at_is_floor)
        then parent.created_at <= child.created_at end as is_forward
from components.parents as edge
join components.models as child on child.model_id = edge.child_id
join components.models as parent on parent.model_id = edge.parent_id
where edge.is_kept;

create or replace temp table node as
with
made as (
    select
        child_id as model_id,
        bool_or(relation = 'finetune') as is_finetuned,
        bool_or(relation = 'adapter') as is_adapter,
        bool_or(relation = 'quantized') as is_quantization,
        bool_or(relation = 'merge') as is_merge,
        bool_and(is_forward) as is_after_parents
    from edge
    group by child_id
),
evaluated as (
    select model_id, bool_or(source <> 'leaderboard' or len(sources) > 1) as is_by_itself
    from attributes.evaluations
    group by model_id
),
-- Cards are told of where some model is known to have none, or where they are known of all.
told as (
    select coalesce(bool_or(not has_card), false) or count(has_card) = count(*) as card
    from components.models
    where presence <> 'removed'
)
select
    m.model_id,
    m.modality,
    case
        when m.pipeline_tag in ('text-to-image', 'image-to-image', 'unconditional-image-generation', 'text-to-video',
            'image-to-video', 'video-to-video', 'text-to-3d', 'image-to-3d') then 'generative'
        when m.modality = 'vision' then 'discriminative'
    end as vision_task,
    m.presence = 'removed' as is_removed,
    m.is_quantized,
    case when told.card then m.has_card end as has_card,
    m.license is not null or m.pipeline_tag is not null or m.library_name is not null or m.model_type is not null
        or made.model_id is not null or coalesce(evaluated.is_by_itself, false) as has_metadata,
    coalesce(evaluated.is_by_itself, false) as is_evaluated_by_itself,
    evaluated.model_id is not null as is_evaluated,
    m.downloads_30d as downloads,
    i.depth, i.shortest_depth, i.is_leaf, i.hub_id is not null as is_in_hub, i.n_children,
    i.descendant_downloads, i.sub_tree_downloads, i.path_counted_downloads,
    i.path_counted_downloads > i.sub_tree_downloads * (1 + 1e-9) as is_inflated,
    r.region_id, r.region_size, r.is_source, r.region_size > 1 as has_edge,
    made.model_id is not null as is_child,
    coalesce(made.is_finetuned, false) as is_finetuned,
    coalesce(made.is_adapter, false) as is_adapter,
    coalesce(made.is_quantization, false) as is_quantization,
    coalesce(made.is_merge, false) as is_merge,
    made.is_after_parents
from components.models as m
cross join told
join components.impact as i using (model_id)
join components.regions as r using (model_id)
left join made using (model_id)
left join evaluated using (model_id);

-- As in trends.merge_influence, of nlp: merged models, and the children of their parents that are no merges.
create or replace temp table merge_kin as
with member as (
    select edge.parent_id, node.model_id, node.is_merge, node.descendant_downloads,
        node.path_counted_downloads - coalesce(node.downloads, 0) as path_counted_descendants
    from edge join node on node.model_id = edge.child_id
    where node.modality = 'nlp'
)
select distinct model_id, is_merge, descendant_downloads, path_counted_descendants
from member
where parent_id in (select parent_id from member where is_merge);

with
counted as (
    -- Size.
    select 'models' as statistic, 'count' as unit,
        'Models that the snapshot lists; the paper: over 1.5 million.' as description,
        count(*) filter (where not is_removed) as n_cases, null::bigint as n_total, 1500000::double as paper_value
        from node
    union all select 'edges', 'count',
        'Kept documented edges.',
        count(*), null, 400000 from edge
    union all select 'merges', 'count',
        'Models with a kept merge edge.',
        count(*) filter (where is_merge), null, null from node
    union all select 'regions', 'count',
        'Regions of at least two models.',
        count(distinct region_id), null, null from node where has_edge
    union all select 'largest_region_members', 'share',
        'Models of the largest region, of those with an edge; the paper: almost a third, in its Fig. 2.',
        coalesce(max(region_size), 0), count(*), 0.33 from node where has_edge
    -- Source models, and removed ones.
    union all select 'sources', 'count',
        'Source models: without a kept parent, in a region of at least two models.',
        count(*) filter (where is_source), null, 33870 from node where has_edge
    union all select 'sources_removed', 'share',
        'Removed models, of source models.',
        count(*) filter (where is_removed), count(*), 1612 / 33870 from node where has_edge and is_source
    union all select 'removed_most_references', 'count',
        'Kept edges from the removed model that has most of them; the total is of all removed models.',
        max(n_children), coalesce(sum(n_children), 0)::bigint, 3038 from node where is_removed
    -- Hubs.
    union all select 'hub_members', 'share',
        'Members of a hub of sibling leaves, of models with an edge.',
        count(*) filter (where is_in_hub), count(*), 0.79 from node where has_edge
    union all select 'hub_members_of_all', 'share',
        'Members of a hub of sibling leaves, of all models.',
        count(*) filter (where is_in_hub), count(*), 0.79 from node
    -- Impact.
    union all select 'impact_beyond_own', 'share',
        'Models whose descendants have more downloads than they themselves, of those with children and known '
            || 'downloads.',
        count(*) filter (where descendant_downloads > downloads), count(*), 0.5
        from node where not is_leaf and downloads is not null
    union all select 'impact_beyond_own_of_all', 'share',
        'The same of all models with children, unknown downloads counted as none.',
        count(*) filter (where descendant_downloads > coalesce(downloads, 0)), count(*), 0.5
        from node where not is_leaf
    union all select 'impact_inflated', 'share',
        'Models whose downloads are overstated when a descendant counts once for each path, of those with '
            || 'children.',
        count(*) filter (where is_inflated), count(*), null from node where not is_leaf
    -- Quantisation: what nodes say, and what edges say.
    union all select 'quantized_leaves', 'share',
        'Leaves, of quantised models with an edge.',
        count(*) filter (where is_leaf), count(*), 0.9941 from node where is_quantized and has_edge
    union all select 'quantized_leaves_by_relation', 'share',
        'Leaves, of models with a kept edge of relation quantized to a parent.',
        count(*) filter (where is_leaf), count(*), 0.9941 from node where is_quantization
    union all select 'quantized_parents', 'share',
        'Edges from a quantised parent, of all edges.',
        count(*) filter (where parent_is_quantized), count(*), null from edge
    union all select 'quantized_parents_of_finetunes', 'share',
        'Edges from a quantised parent, of finetune edges.',
        count(*) filter (where parent_is_quantized), count(*), null from edge where relation = 'finetune'
    union all select 'quantized_vision', 'share',
        'Quantised models, of vision models with an edge; the paper: less than 0.15 %.',
        count(*) filter (where is_quantized), count(*), 0.0015 from node where modality = 'vision' and has_edge
    union all select 'quantized_nlp', 'share',
        'Quantised models, of nlp models with an edge.',
        count(*) filter (where is_quantized), count(*), null from node where modality = 'nlp' and has_edge
    -- Time.
    union all select 'time_forward_edges', 'share',
        'Edges whose parent is not younger, of edges with two dates that are not both the floor.',
        count(*) filter (where is_forward), count(is_forward), 0.9973 from edge
    union all select 'time_forward_children', 'share',
        'Models none of whose parents is younger, of those with such an edge.',
        count(*) filter (where is_after_parents), count(is_after_parents), 0.9973 from node
    -- Depth, of models with a parent.
    union all select 'depth_1_vision', 'share',
        'Vision models one edge from the source by the longest path, of those with a parent; the paper: over 96 '
            || '%.',
        count(*) filter (where depth = 1), count(*), 0.96 from node where is_child and modality = 'vision'
    union all select 'depth_1_vision_by_shortest_path', 'share',
        'Vision models one edge from the source by the shortest path, of those with a parent.',
        count(*) filter (where shortest_depth = 1), count(*), 0.96 from node where is_child and modality = 'vision'
    union all select 'depth_1_nlp', 'share',
        'Nlp models one edge from the source by the longest path, of those with a parent; the paper: 55 %.',
        count(*) filter (where depth = 1), count(*), 0.55 from node where is_child and modality = 'nlp'
    union all select 'depth_1_nlp_by_shortest_path', 'share',
        'Nlp models one edge from the source by the shortest path, of those with a parent.',
        count(*) filter (where shortest_depth = 1), count(*), 0.55 from node where is_child and modality = 'nlp'
    union all select 'depth_5_nlp', 'share',
        'Nlp models at least five edges from the source by the longest path, of those with a parent; the paper: '
            || 'over 5 %.',
        count(*) filter (where depth >= 5), count(*), 0.05 from node where is_child and modality = 'nlp'
    union all select 'depth_5_nlp_by_shortest_path', 'share',
        'Nlp models at least five edges from the source by the shortest path, of those with a parent.',
        count(*) filter (where shortest_depth >= 5), count(*), 0.05 from node where is_child and modality = 'nlp'
    -- Adapters and full fine-tuning, of models with a parent.
    union all select 'adapters_generative_vision', 'share',
        'Adapters, of vision models that make images, video or shapes; the paper: the vast majority.',
        count(*) filter (where is_adapter), count(*), null from node where is_child and vision_task = 'generative'
    union all select 'adapters_discriminative_vision', 'share',
        'Adapters, of all other vision models.',
        count(*) filter (where is_adapter), count(*), null from node where is_child and vision_task = 'discriminative'
    union all select 'finetunes_discriminative_vision', 'share',
        'Full fine-tunes, of all other vision models; the paper: almost all.',
        count(*) filter (where is_finetuned), count(*), null
        from node where is_child and vision_task = 'discriminative'
    union all select 'adapters_audio', 'share',
        'Adapters, of audio models; the paper: rarely.',
        count(*) filter (where is_adapter), count(*), null from node where is_child and modality = 'audio'
    union all select 'adapters_nlp', 'share',
        'Adapters, of nlp models.',
        count(*) filter (where is_adapter), count(*), null from node where is_child and modality = 'nlp'
    -- Merging, of models with a parent.
    union all select 'merge_rate_nlp', 'share',
        'Merges, of nlp models.',
        count(*) filter (where is_merge), count(*), null from node where is_child and modality = 'nlp'
    union all select 'merge_rate_vision', 'share',
        'Merges, of vision models.',
        count(*) filter (where is_merge), count(*), null from node where is_child and modality = 'vision'
    -- Documentation, of models that the snapshot lists.
    union all select 'documentation_edge', 'share',
        'Models with an edge; the paper: 400,000 of 1.3 million.',
        count(*) filter (where has_edge), count(*), 400000 / 1300000 from node where not is_removed
    union all select 'documentation_none', 'share',
        'Models that say none of the items of trends.documentation_items; the paper: about 60 % lack any '
            || 'documentation.',
        count(*) filter (where not has_card and not has_metadata), count(has_card), 0.6 from node where not is_removed
    union all select 'documentation_no_card', 'share',
        'Models without a card; the paper: over half.',
        count(*) filter (where not has_card), count(has_card), 0.5 from node where not is_removed
    union all select 'documentation_evaluation', 'share',
        'Models that report a result themselves; the paper: fewer than 15 %.',
        count(*) filter (where is_evaluated_by_itself), if(bool_or(is_evaluated_by_itself), count(*), 0), 0.15
        from node where not is_removed
    union all select 'documentation_evaluation_anywhere', 'share',
        'Models with a result, be it on a leaderboard.',
        count(*) filter (where is_evaluated), if(bool_or(is_evaluated), count(*), 0), null
        from node where not is_removed
),
merge_rates as (
    select
        count(*) filter (where modality = 'nlp') as n_nlp,
        count(*) filter (where modality = 'nlp' and is_merge) as nlp_merges,
        count(*) filter (where modality = 'vision') as n_vision,
        count(*) filter (where modality = 'vision' and is_merge) as vision_merges
    from node
    where is_child
),
ratios as (
    select 'impact_largest_inflation' as statistic, 'ratio' as unit,
        'Path-counted downloads over sub_tree_downloads, where that is greatest; cases are the inflated ones of '
            || 'models with children and any downloads.' as description,
        count(*) filter (where is_inflated) as n_cases, count(*) as n_total,
        max(path_counted_downloads / sub_tree_downloads) as value,
        null::double as paper_value from node where not is_leaf and sub_tree_downloads > 0
    union all select 'merge_rate_nlp_over_vision', 'ratio',
        'Merges per nlp model over merges per vision model, of models with a parent; cases are the merges of nlp, '
            || 'total those of vision.',
        nlp_merges, vision_merges,
        (nlp_merges / nullif(n_nlp, 0)) / nullif(vision_merges / nullif(n_vision, 0), 0),
        35 from merge_rates
    union all select 'merge_influence_nlp', 'ratio',
        'Mean downloads of descendants, merged nlp models over their siblings that are no merges; cases are the '
            || 'merged, total the siblings.',
        count(*) filter (where is_merge), count(*) filter (where not is_merge),
        avg(descendant_downloads) filter (where is_merge)
            / nullif(avg(descendant_downloads) filter (where not is_merge), 0),
        1.3 from merge_kin
    union all select 'merge_influence_nlp_by_paths', 'ratio',
        'The same with a descendant counted once for each path.',
        count(*) filter (where is_merge), count(*) filter (where not is_merge),
        -- Sorted: real numbers add up to the same last digit only in the same order.
        list_avg(list(path_counted_descendants order by path_counted_descendants) filter (where is_merge))
            / nullif(list_avg(list(path_counted_descendants order by path_counted_descendants)
                filter (where not is_merge)), 0),
        1.3 from merge_kin
),
stated as (
    select
        *,
        case
            when n_total = 0 then null
            when unit = 'count' then n_cases::double
            else n_cases / n_total
        end as value
    from counted
    union all by name
    from ratios
)
select getvariable('snapshot') as snapshot, statistic, description, unit, n_cases, n_total, value, paper_value
from stated
order by statistic
