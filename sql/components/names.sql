-- What each name of a parent means. Reads listing, statements and aliases(alias, model_id).
-- Leaves resolved(declared_parent, parent_id, resolution, drop_reason).
create temp table resolved as
with
names as (select model_id, lower(model_id) as folded, is_current from listing),
declared as (select distinct declared_parent from statements),
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
folded_wanted as (select distinct lower(wanted) as folded from cleaned),
exact as (select model_id as wanted, model_id as parent_id, is_current from names),
folded as (
    -- Of ids that differ in letter case alone, the one that still exists, then the first by name.
    select folded, arg_min(model_id, (not is_current, model_id)) as parent_id, bool_or(is_current) as is_current
    from names semi join folded_wanted using (folded) group by folded
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
            when exact.is_current then 'exact'
            -- A renamed repository: the old name counts only where it is no longer listed.
            when renamed.is_current then 'alias'
            when folded.is_current then 'letter_case'
            when exact.parent_id is not null then 'exact'
            when folded.parent_id is not null then 'letter_case'
            when renamed.parent_id is not null then 'alias'
            else 'unlisted'
        end as resolution,
        exact.parent_id as exact_id, renamed.parent_id as renamed_id, folded.parent_id as folded_id,
        exact.parent_id is not null or folded.parent_id is not null as is_listed
    from cleaned
    left join exact using (wanted)
    left join folded on folded.folded = lower(cleaned.wanted)
    left join renamed on renamed.folded = lower(cleaned.wanted)
),
named as (
    select
        *,
        case resolution when 'exact' then exact_id when 'alias' then renamed_id when 'letter_case' then folded_id
            else wanted end as meant
    from chosen
),
judged as (
    select
        *,
        case
            when is_listed then null
            when not is_address
                and regexp_matches(meant, '^(/|\.|~|[A-Za-z]:[\\/]|file:)|\\|^[^:,]*/[^:,]*/') then 'local_path'
            when lower(meant) in ('n/a', 'none', 'null', 'unknown') then 'not_a_model_id'
            when not regexp_full_match(meant, '[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_.-]{1,95}')
                or contains(meant, '..') or ends_with(meant, '/.') then 'not_a_model_id'
        end as drop_reason
    from named
)
select
    declared_parent,
    case when drop_reason is null then meant else left(meant, 200) end as parent_id,
    case when drop_reason is null then resolution else 'not_a_model' end as resolution,
    drop_reason
from judged;

select count(*) as n_names from resolved;
