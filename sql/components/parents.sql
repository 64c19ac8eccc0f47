-- One row for each (child, parent): declared parents resolved to models, sources gathered, self-loops marked.
-- Reads listing and claims (declared_parents.sql) and aliases(alias, model_id).
create temp table names as
select model_id, lower(model_id) as folded, is_current from listing;

create temp table resolved as
with
declared as (select distinct declared_parent from claims),
addressed as (
    -- An address of the Hub, with or without the page of the repository that it leads to.
    select
        declared_parent,
        regexp_replace(declared_parent, '^(https?://)?(www\.)?(huggingface\.co|hf\.co)/', '', 'i') as place
    from declared
),
cleaned as (
    select
        declared_parent,
        coalesce(nullif(regexp_replace(
            case when place = declared_parent then place
                else regexp_replace(place, '([?#]|/(tree|blob|resolve|commits?|discussions)(/|$)).*$', '') end,
            '/+$', ''), ''), declared_parent) as wanted,
        place <> declared_parent as is_address
    from addressed
),
exact as (select model_id as wanted, model_id as parent_id, is_current from names),
folded as (
    -- Of ids that differ in letter case alone, the one that still exists, then the first by name.
    select folded, arg_min(model_id, (not is_current, model_id)) as parent_id, bool_or(is_current) as is_current
    from names group by folded
),
renamed as (
    select lower(alias) as folded, arg_min(aliases.model_id, (is_current is not true, alias)) as parent_id,
        coalesce(bool_or(is_current), false) as is_current
    from aliases left join names using (model_id)
    group by all
),
chosen as (
    select
        cleaned.*,
        case
            when exact.is_current then exact.parent_id
            -- A renamed repository: the old name counts only where it is no longer listed.
            when renamed.is_current then renamed.parent_id
            when folded.is_current then folded.parent_id
            else coalesce(exact.parent_id, folded.parent_id, renamed.parent_id, cleaned.wanted)
        end as parent_id,
        exact.parent_id is not null or folded.parent_id is not null as is_listed
    from cleaned
    left join exact using (wanted)
    left join folded on folded.folded = lower(cleaned.wanted)
    left join renamed on renamed.folded = lower(cleaned.wanted)
)
select
    declared_parent,
    parent_id,
    case
        when is_listed then null
        when not is_address
            and regexp_matches(parent_id, '^(/|\.|~|[A-Za-z]:[\\/]|file:)|\\|^[^:,]*/[^:,]*/') then 'local_path'
        when lower(parent_id) in ('n/a', 'none', 'null', 'unknown') then 'not_a_model_id'
        when not regexp_full_match(parent_id, '[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_.-]{1,95}')
            or contains(parent_id, '..') or ends_with(parent_id, '/.') then 'not_a_model_id'
    end as drop_reason
from chosen;

create temp table pairs as
with ranked as (
    select
        claims.child_id, claims.declared_parent,
        case when resolved.drop_reason is null then resolved.parent_id else left(resolved.parent_id, 200) end
            as parent_id,
        claims.relation, resolved.drop_reason, claims.source,
        case claims.source
            when 'base_models' then 1 when 'tag' then 2 when 'annotation' then 3 when 'card_data' then 4 else 5
        end as strength
    from claims join resolved using (declared_parent)
)
select
    child_id,
    parent_id,
    arg_min(declared_parent, (strength, declared_parent)) as declared_parent,
    coalesce(arg_min(relation, (strength, relation)) filter (relation is not null), 'unknown') as relation,
    list(distinct source order by source) as sources,
    min(strength) as strength,
    min(drop_reason) as drop_reason
from ranked
group by child_id, parent_id;

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
