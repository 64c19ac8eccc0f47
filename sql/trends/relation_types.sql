-- Kept edges by modality of the child and relation, and for all modalities; a child with two parents of one relation
-- counts twice among the edges and once among the children. Reads components.models and components.parents.
with
edges as (
    select coalesce(child.modality, 'unknown') as modality, edge.relation, edge.child_id
    from components.parents as edge
    join components.models as child on child.model_id = edge.child_id
    where edge.is_kept
),
counted as (
    select
        case when grouping(modality) = 1 then 'all' else modality end as modality,
        relation, count(*) as n_edges, count(distinct child_id) as n_children
    from edges
    group by grouping sets ((modality, relation), (relation))
)
select
    getvariable('snapshot') as snapshot, modality, relation, n_edges, n_children,
    n_edges / sum(n_edges) over (partition by modality) as share
from counted
order by modality, relation
