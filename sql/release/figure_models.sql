-- Models of the latest snapshot as figures show them: place, relation to the main parent, and rank of downloads within
-- what they hang together with.
create temp table figure_models as
select
    p.model_id, p.x, p.y, p.component_id, p.component_size, m.license, m.pipeline_tag,
    coalesce(made.relation, 'source') as relation,
    percent_rank() over (partition by p.component_id order by m.downloads_30d desc nulls last, p.model_id) as place,
    4 + 3 * log2(1 + coalesce(m.downloads_30d, 0) / 8) as size,
    not exists (from edges.charted as below where below.parent_id = p.model_id) as is_leaf,
    made.relation is null or made.is_later as is_in_order,
    dense_rank() over (order by p.component_size desc, p.component_id) as component
from release.positions as p
join components.models as m on m.model_id = p.model_id and m.snapshot = (select max(snapshot) from components.models)
left join (
    select
        e.child_id, min_by(e.relation, e.parent_id) as relation,
        -- An instant that is not known is not out of order.
        bool_and(coalesce(c.created_at >= p.created_at, true)) as is_later
    from edges.charted as e
    join components.models as c
        on c.model_id = e.child_id and c.snapshot = (select max(snapshot) from components.models)
    join components.models as p
        on p.model_id = e.parent_id and p.snapshot = (select max(snapshot) from components.models)
    group by e.child_id
) as made on made.child_id = p.model_id
where p.component_size > 1;
create temp table figure_edges as
select distinct
    c.x, c.y, p.x as parent_x, p.y as parent_y, c.model_id as child_id, p.model_id as parent_id, c.component,
    greatest(c.place, p.place) as place, e.relation, 'found' as verdict
from edges.charted as e
join figure_models as c on c.model_id = e.child_id
join figure_models as p on p.model_id = e.parent_id
