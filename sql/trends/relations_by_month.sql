-- Kept edges by month of the child's creation and relation. Reads components.models and components.parents.
with dated as (
    select
        case when not models.created_at_is_floor then date_trunc('month', models.created_at) end as month_at,
        parents.relation
    from components.parents as parents
    join components.models as models on models.model_id = parents.child_id
    where parents.is_kept
),
counted as (select month_at, relation, count(*) as n_edges from dated group by all)
select
    getvariable('snapshot') as snapshot, month_at, relation, n_edges,
    n_edges / sum(n_edges) over (partition by month_at) as share
from counted
order by month_at, relation
