-- The shares of a modality's levels add up to one, and each is its part of what is counted.
with totals as (
    select *, sum(n_models) over per_group as n_group, sum(share) over per_group as shares
    from trends.documentation_levels
    window per_group as (partition by snapshot, modality)
)
select snapshot, modality, n_models, n_group, share, shares
from totals
where abs(shares - 1) > 1e-9 or abs(share - n_models / n_group) > 1e-9
