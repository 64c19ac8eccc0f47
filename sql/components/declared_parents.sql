-- Every parent that a usable row or an annotation declares, one row for each (child, declared parent, source).
-- An annotation counts where the child is listed, now or earlier. Reads raw.hub_stats up to the snapshot and
-- annotated(child_id, declared_parent, relation). Leaves the table claims.
create temp table listing as
select
    id as model_id,
    snapshot,
    snapshot = getvariable('snapshot') as is_current,
    createdAt as created_at,
    -- The Hub's clock starts here: repositories of before carry one of two instants.
    createdAt is not null and createdAt between '2022-03-02 23:29:04+00' and '2022-03-02 23:29:05.999999+00'
        as created_at_is_floor,
    tags, cardData, baseModels, config
from raw.hub_stats
where not is_rejected and snapshot <= getvariable('snapshot')
qualify row_number() over (partition by id order by snapshot desc) = 1;

create temp table claims as
with
structured as (
    select model_id, unnest(baseModels.models).id as declared_parent, baseModels.relation as relation,
        'base_models' as source
    from listing where baseModels is not null
),
tagged as (
    select model_id, substr(tag, length('base_model:') + 1) as rest
    from (select model_id, unnest(tags) as tag from listing)
    where starts_with(tag, 'base_model:')
),
tags as (
    select
        model_id,
        case when is_typed then regexp_replace(rest, '^[a-z]+:', '') else rest end as declared_parent,
        case when is_typed then split_part(rest, ':', 1) end as relation,
        'tag' as source
    from (select *, regexp_matches(rest, '^(finetune|adapter|quantized|merge):') as is_typed from tagged)
),
cards as (
    select
        model_id,
        unnest(case json_type(card, '$.base_model')
            when 'ARRAY' then json_extract_string(card, '$.base_model[*]')
            -- A number or an object names no model, but it stands there: the claim is dropped later, with a reason.
            else [json_extract_string(card, '$.base_model')]
        end) as declared_parent,
        json_extract_string(card, '$.base_model_relation') as relation,
        'card_data' as source
    from (select model_id, try_cast(cardData as json) as card from listing where contains(cardData, 'base_model'))
),
adapters as (
    -- PEFT writes the base that an adapter was trained on; the Hub lists it with the configuration.
    select
        model_id,
        try_cast(config as json) ->> '$.peft.base_model_name_or_path' as declared_parent,
        'adapter' as relation,
        'adapter_config' as source
    from listing where contains(config, 'base_model_name_or_path')
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
    source
from (
    from structured union all by name from tags union all by name from cards
    union all by name from adapters union all by name from annotations
)
where trim(declared_parent, e' \t\r\n') <> '';

select count(*) as n_claims from claims;
