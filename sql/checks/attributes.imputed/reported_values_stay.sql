-- An imputed value stands beside the reported one and never replaces it: reported_value is what the model reports, and
-- the model is one of the snapshot.
-- reads: components.models
select i.snapshot, i.model_id, i.attribute, i.reported_value
from attributes.imputed as i
left join components.models as m on m.snapshot = i.snapshot and m.model_id = i.model_id
where m.model_id is null or i.attribute <> 'relation' and i.reported_value is distinct from case i.attribute
    when 'pipeline_tag' then m.pipeline_tag
    when 'library_name' then m.library_name
    when 'model_type' then m.model_type
    when 'license' then m.license
end
