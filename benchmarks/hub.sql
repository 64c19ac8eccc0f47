-- Rows of a drawn hub, in the types that hub-stats has. Reads lineage(child, parent, relation, position) and the
-- variables rows, seed and snapshot. Every draw is a hash of the model's number, so that the same seed gives the same rows.
create macro draw(number, purpose) as
    (hash(number, purpose, getvariable('seed')) % 1000000)::double / 1000000;

create macro name_of(number) as
    'org' || (hash(number, 'org', getvariable('seed')) % (getvariable('rows') // 20 + 1)) || '/Model-' || number;

create temp table numbered as
select
    range as number,
    name_of(range) as id,
    -- Twelve model types of falling size, and their tasks.
    (12 * pow(draw(range, 'type'), 2))::int as kind,
    timestamp '2022-01-01' + interval 1 second * ((range / getvariable('rows')) * 150e6)::bigint as created
from range(getvariable('rows'));

create temp table declared as
select
    child as number,
    any_value(relation) as relation,
    list(
        case
            -- What authors get wrong, each rarely.
            when draw(child, 'flaw') < 0.001 then '/workspace/output/checkpoint-' || parent
            when draw(child, 'flaw') < 0.002 then name_of(child)
            when draw(child, 'flaw') < 0.012 then lower(name_of(parent))
            when draw(child, 'flaw') < 0.030 then 'gone' || (parent % 100) || '/Model-' || parent
            else name_of(parent)
        end order by position
    ) as parents
from lineage group by child;

-- Cycles: some parents name one of their own children.
insert into declared
select parent, 'finetune', [name_of(min(child))]
from lineage
where draw(parent, 'cycle') < 0.0005 and parent not in (select number from declared)
group by parent;

create view hub as
with drawn as (
    select
        numbered.*, declared.relation, declared.parents,
        draw(number, 'card') < 0.55 as has_card,
        draw(number, 'weights') < 0.234 as has_safetensors,
        ['llama', 'bert', 'stable-diffusion', 'qwen2', 'wav2vec2', 'vit', 'mistral', 'roberta', 't5', 'whisper', 'gemma',
            'resnet', 'flux'][1 + kind] as model_type,
        ['text-generation', 'fill-mask', 'text-to-image', 'text-generation', 'automatic-speech-recognition',
            'image-classification', 'text-generation', 'text-classification', 'translation',
            'automatic-speech-recognition', 'text-generation', 'image-classification', 'text-to-image'][1 + kind] as task,
        ['apache-2.0', 'mit', 'llama3.1', 'cc-by-nc-4.0', 'openrail'][1 + (5 * pow(draw(number, 'license'), 2))::int % 5]
            as license
    from numbered left join declared using (number)
)
select
    id,
    split_part(id, '/', 1) as author,
    case when created < timestamp '2022-03-02 23:29:04' then timestamp '2022-03-02 23:29:04' else created end as createdAt,
    greatest(created, timestamp '2022-03-02 23:29:04') + interval 1 hour * (draw(number, 'modified') * 400)::int
        as lastModified,
    case when draw(number, 'used') < 0.355 then (10 / (0.00001 + draw(number, 'downloads')))::bigint else 0 end as downloads,
    case when draw(number, 'used') < 0.355 then (40 / (0.00001 + draw(number, 'downloads')))::bigint else 0 end
        as downloadsAllTime,
    (draw(number, 'likes') * draw(number, 'likes') * 5)::bigint as likes,
    list_concat(
        ['transformers', case when has_safetensors then 'safetensors' else 'pytorch' end, model_type, task, 'en',
            'region:us', 'endpoints_compatible'],
        case when has_card then ['license:' || license] else [] end,
        case when relation = 'quantized' then ['gguf'] else [] end,
        coalesce(list_transform(parents, lambda p: 'base_model:' || p), []),
        coalesce(list_transform(parents, lambda p: 'base_model:' || relation || ':' || p), [])
    ) as tags,
    case when has_card or parents is not null then to_json({
        license: license, language: ['en'], library_name: 'transformers', pipeline_tag: task, tags: ['generated', task],
        base_model: parents
    })::varchar end as cardData,
    '{"architectures": ["' || model_type || 'Model"], "model_type": "' || model_type
        || '", "tokenizer_config": {"bos_token": "<s>", "eos_token": "</s>"}}' as config,
    list_concat(
        ['.gitattributes', 'config.json', 'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'],
        case when has_card then ['README.md'] else [] end,
        case when has_safetensors then ['model.safetensors']
            when draw(number, 'empty') < 0.1 then [] else ['pytorch_model.bin'] end
    ) as siblings,
    case when has_safetensors then {
        parameters: {BF16: 1000000 * (1 + number % 8000), F32: null::bigint}, total: 1000000 * (1 + number % 8000)
    } end as safetensors,
    null::varchar as gguf,
    case when parents is not null and draw(number, 'resolved') < 0.9 and draw(number, 'flaw') >= 0.030
        then {relation: relation, models: list_transform(parents, lambda p: {_id: md5(p)[:24], id: p})} end as baseModels,
    task as pipeline_tag,
    'transformers' as library_name
from drawn
-- One row in a thousand stands twice.
join (values (0), (1)) as copies(copy) on copy = 0 or draw(number, 'twice') < 0.001
order by number, copy;
