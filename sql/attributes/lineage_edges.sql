-- Kept edges between the numbered models. Reads lineage_models (lineage_models.sql) and components.parents.
select
    parents.node as parent,
    children.node as child,
    relation in ('quantized', 'duplicate') as is_copy
from components.parents as edges
join lineage_models as parents on parents.model_id = edges.parent_id
join lineage_models as children on children.model_id = edges.child_id
where edges.is_kept
order by child, parent
