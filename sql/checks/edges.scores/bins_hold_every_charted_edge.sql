-- Each charted edge is in one bin of confidence: the bins hold as many edges as the rules that charted.
with counted as (
    select region_id, method, documentation, matching, subset,
        coalesce(sum(n_edges) filter (breakdown = 'rule' and breakdown_value <> 'known'), 0) as n_charted,
        coalesce(sum(n_edges) filter (breakdown = 'confidence'), 0) as n_in_bins
    from edges.scores
    group by all
)
select * from counted where n_charted <> n_in_bins
