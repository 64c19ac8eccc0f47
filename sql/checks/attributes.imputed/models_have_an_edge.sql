-- Only models with a kept edge are told anything, and a relation only those that have a parent.
-- reads: components.parents
with
edges as (select snapshot, child_id, parent_id from components.parents where is_kept),
ends as (
    select snapshot, child_id as model_id, true as has_parent from edges
    union all
    select snapshot, parent_id, false from edges
),
models as (select snapshot, model_id, bool_or(has_parent) as has_parent from ends group by all)
select i.snapshot, i.model_id, i.attribute
from attributes.imputed as i
left join models as m on m.snapshot = i.snapshot and m.model_id = i.model_id
where m.model_id is null or i.attribute = 'relation' and not m.has_parent
