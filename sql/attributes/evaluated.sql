-- Reported results of the numbered models, for each benchmark and metric that enough of them report.
-- Reads lineage_models (lineage_models.sql) and attributes.evaluations.
-- Results in another unit than most are left out: they cannot be set against the rest.
with
results as (
    select node, benchmark, metric, unit, value
    from attributes.evaluations join lineage_models using (model_id)
    where isfinite(value)
),
units as (
    select * from (select benchmark, metric, unit, count(*) as n_models from results group by all)
    qualify row_number() over (partition by benchmark, metric order by n_models desc, unit desc) = 1
)
select benchmark, metric, unit, node, value
from results join units using (benchmark, metric, unit)
where n_models >= getvariable('least_models')
order by benchmark, metric, node
