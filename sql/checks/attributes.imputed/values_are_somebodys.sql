-- An imputed value is one that some model of the snapshot reports: nothing is made up.
-- reads: components.models, components.parents
with reported as (
    select distinct snapshot, 'pipeline_tag' as attribute, pipeline_tag as value from components.models
    union all
    select distinct snapshot, 'library_name', library_name from components.models
    union all
    select distinct snapshot, 'model_type', model_type from components.models
    union all
    select distinct snapshot, 'license', license from components.models
    union all
    select distinct snapshot, 'relation', relation from components.parents where is_kept and relation <> 'unknown'
)
select i.snapshot, i.attribute, i.value, count(*) as n_models
from attributes.imputed as i
anti join reported as r on r.snapshot = i.snapshot and r.attribute = i.attribute and r.value = i.value
group by all
