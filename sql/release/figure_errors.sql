-- What charting finds with all documentation hidden, beside what is documented; models that cannot be compared left out.
with pairs as (
    select child_id, parent_id, true as is_declared, list_contains(measured_parent_ids, parent_id) as is_measured
    from edges.audit
    where finding <> 'not_comparable'
    union
    select child_id, measured, false, true
    from (
        select child_id, unnest(measured_parent_ids) as measured
        from edges.audit
        where finding <> 'not_comparable'
    )
    where (child_id, measured) not in (select (child_id, parent_id) from edges.audit)
)
select
    c.x, c.y, p.x as parent_x, p.y as parent_y, pairs.child_id, pairs.parent_id,
    case when is_declared and is_measured then 'right' when is_measured then 'wrong' else 'missed' end as verdict
from pairs
join figure_models as c on c.model_id = pairs.child_id
join figure_models as p on p.model_id = pairs.parent_id
order by pairs.child_id, pairs.parent_id
