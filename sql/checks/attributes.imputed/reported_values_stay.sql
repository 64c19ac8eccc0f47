-- An imputed value stands beside the reported one and never replaces it: reported_value is what the model reports, and
-- the model is one of the snapshot.
-- reads: components.models, components.parents
with relations as (
    select snapshot, child_id as model_id, any_value(relation) as relation
    from components.parents
    where is_kept and relation <> 'unknown'
    group by all
    having count(distinct relation) = 1
)
select i.snapshot, i.model_id, i.attribute, i.reported_value
from attributes.imputed as i
left join components.models as m on m.snapshot = i.snapshot and m.model_id = i.model_id
left join relations as r on r.snapshot = i.snapshot and r.model_id = i.model_id
where m.model_id is null or i.reported_value is distinct from case i.attribute
    when 'pipeline_tag' then m.pipeline_tag
    when 'library_name' then m.library_name
    when 'model_type' then m.model_type
    when 'license' then m.license
    when 'relation' then r.relation
end
