-- Models on whose way from the source terms of a license were lost, and the first edge where that happened.
select model_id, license, lost_terms, lost_at_parent_id, lost_at_child_id
from attributes.license_lineage
where snapshot = (select max(snapshot) from attributes.license_lineage) and len(lost_terms) > 0
order by len(lost_terms) desc, model_id
limit 20;
