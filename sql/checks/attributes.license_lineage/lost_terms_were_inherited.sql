-- Nobody loses terms that no ancestor's license passes on.
-- severity: error
select snapshot, model_id, lost_terms, inherited_terms
from attributes.license_lineage
where not list_has_all(inherited_terms, lost_terms)
