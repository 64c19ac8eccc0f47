-- Our method is no worse than the paper's where enough was scored to tell: two standard errors of an accuracy, a tenth
-- of a mean squared error. Amber: look at what the attribute's reported values are before trusting imputed ones.
-- severity: warning
with pivoted as (
    select
        snapshot, attribute, protocol, any_value(n_models) as n_models,
        max(accuracy) filter (method = 'lineage_vote') as ours,
        max(accuracy) filter (method <> 'lineage_vote') as best_other,
        max(mse) filter (method = 'lineage_kernel') as our_error,
        min(mse) filter (method <> 'lineage_kernel') as least_other_error
    from attributes.scores
    group by snapshot, attribute, protocol
)
select * from pivoted
where n_models >= 100 and (
    ours < best_other - 2 * sqrt(best_other * (1 - best_other) / n_models) - 1 / n_models
    or our_error > 1.1 * least_other_error
)
