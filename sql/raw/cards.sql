-- Cards of a Parquet file: one row for each id, the first that stands there, in the order of the ids. A card that
-- cannot be read stays, with the problem and no text.
-- Reads ids(position, id) and contents(position, content), bytes as they stand in the file.
with
named as (
    select position, try(decode(id)) as id, id is null as is_missing from ids
),
judged as (
    select
        position,
        case
            when is_missing then ''
            when id is null then '(no UTF-8)'
            -- What is no id is kept short and printable, and never looks like one.
            when length(id) > 300 then regexp_replace(left(id, 300), '[[:cntrl:]]', '?', 'g') || '…'
            else regexp_replace(id, '[[:cntrl:]]', '?', 'g')
        end as model_id,
        case
            when is_missing then 'id is missing'
            when id is null or not regexp_full_match(id, getvariable('id_pattern')) or contains(id, '..')
                or ends_with(id, '/.') then 'id is no model id'
        end as flaw
    from named
),
firsts as (
    select model_id, min(position) as position, any_value(flaw) as flaw, count(*) as n_cards
    from judged group by model_id
),
sized as (
    select
        model_id, flaw, n_cards, content,
        coalesce(octet_length(content), 0) as n_bytes,
        octet_length(content) > getvariable('max_bytes') as is_long
    from firsts join contents using (position)
),
read as (
    select
        * exclude (content), content is null as is_missing,
        case
            when flaw is not null then null
            when not is_long then try(decode(content))
            -- A character has at most four bytes: one of these prefixes ends with a whole one.
            else coalesce(
                try(decode(content[1:getvariable('max_bytes')])),
                try(decode(content[1:getvariable('max_bytes') - 1])),
                try(decode(content[1:getvariable('max_bytes') - 2])),
                try(decode(content[1:getvariable('max_bytes') - 3]))
            )
        end as card
    from sized
)
select
    getvariable('snapshot') as snapshot,
    model_id,
    getvariable('source_revision') as source_revision,
    card,
    n_bytes,
    coalesce(is_long, false) and card is not null as is_truncated,
    nullif(concat_ws('; ',
        flaw,
        case
            when flaw is not null then null
            when is_missing then 'card is missing'
            when card is null then 'card is no UTF-8 text'
        end,
        case when n_cards > 1 then 'id stands ' || n_cards || ' times, the first is kept' end
    ), '') as problem
from read
order by model_id
