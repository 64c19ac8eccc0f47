-- The shares of a modality's relations add up to one, and each is its part of what is counted.
with totals as (
    select *, sum(n_edges) over per_group as n_group, sum(share) over per_group as shares
    from trends.relation_types
    window per_group as (partition by snapshot, modality)
)
select snapshot, modality, n_edges, n_group, share, shares
from totals
where abs(shares - 1) > 1e-9 or abs(share - n_edges / n_group) > 1e-9
