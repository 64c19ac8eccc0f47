-- Every parent that a usable row, a card or an annotation states. An annotation counts where the child is listed, now or
-- earlier. Reads raw.hub_stats and components.cards up to the snapshot, listing, and
-- annotated(child_id, declared_parent, relation). Leaves the table statements.
create temp table statements as
with
rows_of as not materialized (
    -- The snapshot's own rows need not be looked for; those of an earlier one count where it was a model's last.
    select id as model_id, tags, cardData, config, gguf, baseModels
    from raw.hub_stats where not is_rejected and snapshot = getvariable('snapshot')
    union all
    select id, tags, cardData, config, gguf, baseModels
    from raw.hub_stats join listing on listing.model_id = hub_stats.id and listing.snapshot = hub_stats.snapshot
    where not is_rejected and hub_stats.snapshot < getvariable('snapshot')
),
structured as (
    select model_id, unnest(baseModels.models).id as declared_parent, baseModels.relation as relation,
        'base_models' as source
    from rows_of where baseModels is not null
),
tagged as (
    select model_id, [substr(t, length('base_model:') + 1) for t in tags if starts_with(t, 'base_model:')] as named
    from rows_of
),
typed as (
    select
        model_id, named,
        [{relation: split_part(n, ':', 1), parent: regexp_replace(n, '^[a-z]+:', '')} for n in named
            if regexp_matches(n, '^(finetune|adapter|quantized|merge):')] as relations
    from tagged where len(named) > 0
),
tags as (
    -- A typed tag comes with an untyped one, which says nothing more.
    select model_id, unnest(relations).parent as declared_parent, unnest(relations).relation as relation, 'tag' as source
    from typed
    union all
    select
        model_id,
        unnest([n for n in named if not regexp_matches(n, '^(finetune|adapter|quantized|merge):')
            and not list_contains([r.parent for r in relations], n)]),
        null, 'tag'
    from typed
),
metadata as (
    select
        model_id,
        unnest(case json_type(card, '$.base_model')
            when 'ARRAY' then json_extract_string(card, '$.base_model[*]')
            -- A number or an object names no model, but it stands there: the claim is dropped later, with a reason.
            else [json_extract_string(card, '$.base_model')]
        end) as declared_parent,
        json_extract_string(card, '$.base_model_relation') as relation,
        'card_data' as source
    from (select model_id, try_cast(cardData as json) as card from rows_of where contains(cardData, 'base_model'))
),
adapters as (
    -- PEFT writes the base that an adapter was trained on; the Hub lists it with the configuration.
    select
        model_id,
        try_cast(config as json) ->> '$.peft.base_model_name_or_path' as declared_parent,
        'adapter' as relation,
        'adapter_config' as source
    from rows_of where contains(config, 'base_model_name_or_path')
),
configs as (
    -- transformers writes the name that a model was loaded by: its parent, or, after an upload, itself.
    select model_id, loaded as declared_parent, null as relation, 'config' as source
    from (
        select model_id, try_cast(config as json) ->> '$._name_or_path' as loaded
        from rows_of where contains(config, '"_name_or_path"')
    )
    where lower(loaded) <> lower(model_id)
),
gguf_keys as (
    select model_id, gguf_json, unnest(json_keys(gguf_json)) as key
    from (
        select model_id, try_cast(gguf as json) as gguf_json
        from rows_of where contains(gguf, 'general.base_model.') or contains(gguf, 'general.source.')
    )
    where json_type(gguf_json) = 'OBJECT'
),
ggufs as (
    -- llama.cpp copies the card of the model that it converts: its base_model is the parent of that model. The source
    -- that it may name besides is the model itself.
    select
        model_id,
        json_extract_string(gguf_json, '$."' || key || '"') as declared_parent,
        'quantized' as relation,
        case when starts_with(key, 'general.source.') then 'gguf' else 'gguf_of_card' end as source
    from gguf_keys
    where regexp_full_match(
        key, 'general\.(base_model\.[0-9]{1,3}\.repo_url|source\.(repo_url|huggingface\.repository))')
),
carded as (
    select model_id, unnest(statements, recursive := true)
    from (
        select model_id, arg_max(statements, snapshot) as statements
        from components.cards where snapshot <= getvariable('snapshot') group by model_id
    )
    join listing using (model_id)
),
annotations as (
    select model_id, declared_parent, relation, 'annotation' as source
    from annotated join listing on listing.model_id = annotated.child_id
)
select
    model_id as child_id,
    -- No id is that long; what is longer is cut and then names no model.
    left(trim(declared_parent, e' \t\r\n'), 500) as declared_parent,
    case when relation in ('finetune', 'adapter', 'quantized', 'merge') then relation end as relation,
    replace(source, 'gguf_of_card', 'gguf') as source,
    source = 'gguf_of_card' as is_grandparent,
    role,
    quote
from (
    select *, null::varchar as role, null::varchar as quote
    from (
        from structured union all by name from tags union all by name from metadata union all by name from adapters
        union all by name from configs union all by name from ggufs union all by name from annotations
    )
    union all by name from carded
)
where trim(declared_parent, e' \t\r\n') <> '';

select count(*) as n_statements from statements;
