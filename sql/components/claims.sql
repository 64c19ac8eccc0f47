-- One row for each (child, source, declared parent, relation), the parent resolved. Reads statements, resolved, listing.
create temp table resolved_statements as
select
    statements.child_id, statements.source, statements.declared_parent,
    coalesce(statements.relation, 'unknown') as relation, statements.role, statements.quote,
    statements.is_grandparent, resolved.parent_id, resolved.resolution, resolved.drop_reason
from statements join resolved using (declared_parent);

-- A GGUF file whose card names a grandparent: the parent is the listed model that was made from the grandparent and
-- whose name the repository carries. Where there is not exactly one, the grandparent stands, as an ancestor.
create temp table nearer as
with
files as (
    select
        child_id, parent_id as grandparent_id,
        regexp_replace(lower(split_part(child_id, '/', -1)),
            '([-_.](i1|imat|imatrix|gguf|ggml|q[0-9][a-z0-9_]{0,8}|iq[0-9][a-z0-9_]{0,8}|bf16|f16|fp16|f32)){1,6}$', '') as stem
    from resolved_statements where is_grandparent and drop_reason is null
),
makers as (
    select distinct
        parent_id as grandparent_id, child_id as parent_id, lower(split_part(child_id, '/', -1)) as stem
    from resolved_statements
    where drop_reason is null and source not in ('gguf', 'config')
        and parent_id in (select grandparent_id from files)
)
select child_id, grandparent_id, min(makers.parent_id) as parent_id
from files join makers using (grandparent_id, stem)
where makers.parent_id <> child_id
group by child_id, grandparent_id
having count(distinct makers.parent_id) = 1;

create temp table claimed as
with meant as (
    select
        told.child_id, told.source, told.declared_parent, told.relation, told.role, told.quote,
        coalesce(nearer.parent_id, told.parent_id) as parent_id,
        case
            when not told.is_grandparent or told.drop_reason is not null then told.resolution
            when nearer.parent_id is not null then 'nearer'
            else 'ancestor'
        end as resolution,
        told.drop_reason
    from resolved_statements as told
    left join nearer
        on told.is_grandparent and nearer.child_id = told.child_id and nearer.grandparent_id = told.parent_id
)
select
    child_id, source, declared_parent, relation, min(role) as role, min(quote) as quote,
    min(parent_id) as parent_id, min(resolution) as resolution, min(drop_reason) as drop_reason
from meant
group by child_id, source, declared_parent, relation;

-- Front matter that stands twice, in hub-stats and in the card, may give the relation in one place only.
delete from claimed
where source = 'card_data' and relation = 'unknown' and (child_id, declared_parent) in (
    select (child_id, declared_parent) from claimed where source = 'card_data' and relation <> 'unknown'
);

-- Where a parent is gone, what an earlier snapshot said of that parent counts too, and so on upwards.
create temp table gone as
with recursive reached(child_id) as (
    select distinct claimed.parent_id
    from claimed
    join listing as child on child.model_id = claimed.child_id and child.is_current
    join listing as parent on parent.model_id = claimed.parent_id and not parent.is_current
    where claimed.drop_reason is null
    union
    select claimed.parent_id
    from reached join claimed using (child_id)
    where claimed.drop_reason is null
)
select child_id from reached;

select
    getvariable('snapshot') as snapshot,
    claimed.* exclude (drop_reason),
    listing.snapshot as stated_in,
    coalesce(claimed.drop_reason, case when claimed.child_id = claimed.parent_id then 'self_loop' end) as drop_reason
from claimed
join listing on listing.model_id = claimed.child_id
where listing.is_current or claimed.child_id in (select child_id from gone)
order by child_id, source, declared_parent, relation;
