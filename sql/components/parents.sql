-- One row for each (child, parent) that some source names, sources gathered and weighed. Reads components.claims,
-- listing (listing.sql) and sources(source, strength, is_weak).
create temp table weighed as
select
    child_id, parent_id, declared_parent, relation, source, stated_in, drop_reason, is_weak,
    -- A mere ancestor is what is left when nothing nearer is known.
    strength + (resolution = 'ancestor')::bigint as strength
from components.claims as claims join sources using (source);

create temp table pairs as
select
    child_id,
    parent_id,
    arg_min(declared_parent, (strength, declared_parent)) as declared_parent,
    coalesce(arg_min(relation, (strength, relation)) filter (relation <> 'unknown'), 'unknown') as relation,
    coalesce(list(distinct relation order by relation) filter (relation <> 'unknown'), []) as relations,
    list(distinct source order by source) as sources,
    min(stated_in) as stated_in,
    min(strength) as strength,
    bool_and(is_weak) as is_weak,
    min(drop_reason) as drop_reason
from weighed
group by child_id, parent_id;

-- Per child: which sources name a usable parent, and how strong the strongest of them is.
create temp table children as
select
    child_id, list(distinct source order by source) as sources, min(strength) as strongest
from weighed
where drop_reason is null
group by child_id;

select
    getvariable('snapshot') as snapshot,
    pairs.child_id,
    pairs.parent_id,
    pairs.declared_parent,
    pairs.relation,
    pairs.relations,
    pairs.sources,
    [s for s in coalesce(children.sources, []) if not list_contains(pairs.sources, s)] as disagreeing_sources,
    pairs.stated_in,
    case
        when child.created_at is null or parent.created_at is null then null
        when child.created_at_is_floor and parent.created_at_is_floor then null
        else child.created_at < parent.created_at
    end as child_is_older,
    coalesce(
        pairs.drop_reason,
        -- What was read out of prose, or may be the name of the model itself, does not stand against a plain statement.
        case when pairs.is_weak and children.strongest < pairs.strength then 'outweighed' end
    ) as drop_reason,
    pairs.strength
from pairs
left join children using (child_id)
left join listing as child on child.model_id = pairs.child_id
left join listing as parent on parent.model_id = pairs.parent_id
order by pairs.child_id, pairs.parent_id;
