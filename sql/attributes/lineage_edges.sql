-- Kept edges between the numbered models. Reads lineage_models and lineage_parents.
select
    parents.node as parent,
    children.node as child,
    relation in ('quantized', 'duplicate') as is_copy
from lineage_parents as edges
join lineage_models as parents on parents.model_id = edges.parent_id
join lineage_models as children on children.model_id = edges.child_id
order by child, parent
