-- One row for each (child, parent): declared parents resolved to models, sources gathered, self-loops marked.
-- Reads listing and claims (declared_parents.sql) and aliases(alias, model_id).
create temp table names as
select model_id, lower(model_id) as folded, is_current from listing;

create temp table resolved as
with
declared as (select distinct declared_parent from claims),
cleaned as (
    select
        declared_parent,
        regexp_replace(declared_parent, '^https?://(www\.)?(huggingface\.co|hf\.co)/', '') as wanted
    from declared
),
exact as (select model_id as wanted, model_id as parent_id, is_current from names),
folded as (
    -- Of ids that differ in letter case alone, the one that still exists, then the first by name.
    select folded, arg_min(model_id, (not is_current, model_id)) as parent_id from names group by folded
)
select
    declared_parent,
    case
        when exact.is_current then exact.parent_id
        else coalesce(current_alias.model_id, folded.parent_id, exact.parent_id, alias.model_id, cleaned.wanted)
    end as parent_id,
    case
        when exact.parent_id is not null or folded.parent_id is not null or alias.model_id is not null then null
        when regexp_matches(cleaned.wanted, '^(/|\.|~|[A-Za-z]:[\\/]|file:)|\\|/.*/') then 'local_path'
        when lower(cleaned.wanted) in ('n/a', 'none', 'null', 'unknown') then 'not_a_model_id'
        when not regexp_full_match(cleaned.wanted, '[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_.-]{1,95}')
            or contains(cleaned.wanted, '..') then 'not_a_model_id'
    end as drop_reason
from cleaned
left join exact using (wanted)
left join folded on folded.folded = lower(cleaned.wanted)
left join aliases as alias on alias.alias = cleaned.wanted
-- A renamed organisation: the old name counts only where the old repository is no longer listed.
left join (select alias, aliases.model_id from aliases join names using (model_id) where is_current) as current_alias
    on current_alias.alias = cleaned.wanted;

create temp table pairs as
with ranked as (
    select
        claims.child_id, resolved.parent_id, claims.declared_parent, claims.relation, resolved.drop_reason,
        claims.source,
        case claims.source when 'base_models' then 1 when 'tag' then 2 when 'annotation' then 3 else 4 end as strength
    from claims join resolved using (declared_parent)
)
select
    child_id,
    left(parent_id, 200) as parent_id,
    arg_min(declared_parent, (strength, declared_parent)) as declared_parent,
    coalesce(arg_min(relation, (strength, relation)) filter (relation is not null), 'unknown') as relation,
    list(distinct source order by source) as sources,
    min(strength) as strength,
    any_value(drop_reason) as drop_reason
from ranked
group by child_id, left(parent_id, 200);

-- The children of this snapshot, and, where a parent is gone, what an earlier snapshot said of that parent.
create temp table wanted as
with recursive reached(child_id) as (
    select model_id from listing where is_current
    union
    select pairs.parent_id
    from reached join pairs using (child_id)
    where pairs.drop_reason is null
)
select child_id from reached;

select
    getvariable('snapshot') as snapshot,
    pairs.child_id,
    pairs.parent_id,
    pairs.declared_parent,
    pairs.relation,
    pairs.sources,
    child.snapshot as stated_in,
    case
        when child.created_at is null or parent.created_at is null then null
        when child.created_at_is_floor and parent.created_at_is_floor then null
        else child.created_at < parent.created_at
    end as child_is_older,
    coalesce(pairs.drop_reason, case when pairs.child_id = pairs.parent_id then 'self_loop' end) as drop_reason,
    pairs.strength
from wanted
join pairs using (child_id)
join listing as child on child.model_id = pairs.child_id
left join listing as parent on parent.model_id = pairs.parent_id
order by pairs.child_id, pairs.parent_id;
