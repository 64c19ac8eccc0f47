-- A statement has a source and a parent; its relation and role are of the closed sets, a role stands in merges alone;
-- what a text says has its words. Source and parent stand once in a card.
with stated as (
    select snapshot, model_id, unnest(statements) as statement from components.cards where len(statements) > 0
),
spread as (
    select
        snapshot, model_id, statement.*,
        count(*) over (partition by snapshot, model_id, statement.source, statement.declared_parent) as n_alike
    from stated
)
select *
from spread
where coalesce(source not in ('card_data', 'mergekit', 'card_text'), true)
    or coalesce(declared_parent, '') = ''
    or relation not in ('finetune', 'adapter', 'quantized', 'merge')
    or role not in ('merged', 'base')
    or (role is not null and relation is distinct from 'merge')
    or (source = 'card_text' and coalesce(quote, '') = '')
    or length(quote) > 300
    or n_alike > 1
