-- Models with an edge, numbered from 0 in the order of their ids, with the groups that they vote in as numbers, and the
-- fold in which their labels are held out. Reads lineage_parents (lineage_parents.sql), components.models and regions.
-- A fold holds whole regions. One that alone outgrows a fold is split into sets of siblings (models with the same first
-- parent by name), so that what is learned of a model never comes from a sibling.
create or replace temp table lineage_models as
with
edges as (select child_id, parent_id from lineage_parents),
first_parents as (select child_id as model_id, min(parent_id) as first_parent from edges group by child_id),
ends as (select child_id as model_id from edges union select parent_id from edges),
members as (
    select
        model_id, models.author, first_parents.first_parent, regions.region_id,
        case when not models.created_at_is_floor then models.created_at end as created_at,
        count(*) over (partition by regions.region_id) * getvariable('n_folds') > count(*) over () as is_split
    from ends
    join components.models as models using (model_id)
    join components.regions as regions using (model_id)
    left join first_parents using (model_id)
),
blocks as (
    select *, case when is_split then coalesce(first_parent, model_id) else region_id end as block from members
)
select
    (row_number() over (order by model_id) - 1)::int as node,
    model_id,
    (dense_rank() over (order by region_id) - 1)::int as region,
    case when author is not null then dense_rank() over (order by author) - 1 else -1 end::int as author,
    coalesce(epoch_us(created_at), -1) as created,
    first_parent is not null as has_parent,
    ('0x' || substr(md5(getvariable('seed') || ' ' || block), 1, 6))::int % getvariable('n_folds') as fold
from blocks;

select * from lineage_models order by node
