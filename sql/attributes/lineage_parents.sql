-- Kept edges of all children, or, of more than most_children (0 for no limit), of so many that are drawn. Children of one
-- first parent are drawn together, so that sets of siblings stay whole; of more than a thousand each is drawn by itself.
-- Reads components.parents.
create or replace temp table lineage_parents as
with
edges as (select child_id, parent_id, relation from components.parents where is_kept),
siblings as (select child_id, min(parent_id) as first_parent from edges group by child_id),
drawing as (
    select
        child_id,
        case when count(*) over (partition by first_parent) <= 1000 then first_parent else child_id end as drawn_by,
        getvariable('most_children') / count(*) over () as share
    from siblings
),
drawn as (
    select child_id from drawing
    where getvariable('most_children') = 0
        or ('0x' || substr(md5(getvariable('seed') || ' drawn ' || drawn_by), 1, 8))::bigint / 4294967296 < share
)
select edges.* from edges semi join drawn using (child_id);

select count(distinct child_id) < (select count(distinct child_id) from components.parents where is_kept) as is_drawn
from lineage_parents
