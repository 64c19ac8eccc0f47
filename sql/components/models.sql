-- One row for each model of the snapshot, and for each model that is gone but still somebody's parent.
-- Reads raw.hub_stats up to the snapshot and components.parents.
-- Of wide rows nothing is kept but what was read out of them: there are millions.
create temp table wanted_rows as
with
current as (select id, snapshot from raw.hub_stats where not is_rejected and snapshot = getvariable('snapshot')),
named as (
    select distinct parent_id as id from components.parents
    where is_kept and parent_id not in (select id from current)
),
earlier as (
    select id, max(snapshot) as snapshot from raw.hub_stats semi join named using (id)
    where not is_rejected and snapshot < getvariable('snapshot')
    group by id
)
select id, snapshot, false as is_gone from current
union all by name
select named.id, earlier.snapshot, true as is_gone from named left join earlier using (id);

create temp table tag_types as
with
known_types as (
    select distinct try_cast(config as json) ->> '$.model_type' as model_type
    from raw.hub_stats where snapshot <= getvariable('snapshot') and config is not null and contains(config, 'model_type')
    -- A model type that is also a task or a library would be found in the tags of models that it has no part in.
    except select pipeline_tag from raw.hub_stats
    except select library_name from raw.hub_stats
),
tagged as (
    select id, unnest(tags) as tag, generate_subscripts(tags, 1) as position
    from raw.hub_stats semi join wanted_rows using (id, snapshot)
    where config is null and not is_rejected
)
-- Where the snapshot has no config, the Hub's tags still name the model type, among others.
select id, arg_min(tag, position) as model_type
from tagged join known_types on known_types.model_type = tag
where tag <> 'unknown' and not contains(tag, ':')
group by id;

create temp table facts as
with
chosen as not materialized (
    select *, false as is_gone from raw.hub_stats where not is_rejected and snapshot = getvariable('snapshot')
    union all by name
    select hub_stats.*, wanted_rows.is_gone
    from raw.hub_stats join wanted_rows using (id, snapshot)
    where not is_rejected and wanted_rows.is_gone
),
parsed as not materialized (
    select
        chosen.*,
        try_cast(config as json) as config_json,
        try_cast(cardData as json) as card_json,
        try_cast(gguf as json) as gguf_json,
        [t for t in coalesce(tags, []) if starts_with(t, 'license:') and length(t) > length('license:')]
            as license_tags,
        map_keys(safetensors.parameters) as dtypes,
        [f for f in [f for f in siblings
            if lower(split_part(f, '.', -1)) in (
                'safetensors', 'bin', 'gguf', 'ggml', 'pt', 'pth', 'th', 'ckpt', 'h5', 'hdf5', 'onnx', 'msgpack',
                'tflite', 'pb', 'keras', 'npz', 'npy', 'pkl', 'joblib', 'skops', 'nemo', 'zip', 'ot', 'pdparams',
                'mlmodel')
            or (contains(f, '.data-') and regexp_matches(f, '\.data-[0-9]+-of-[0-9]+$'))]
            if contains(f, '.')
            and not regexp_matches(f, '(?i)(training_args|optimizer|scheduler|rng_state|tokenizer)')] as weight_files
    from chosen
)
select
    id,
    author,
    createdAt as created_at,
    createdAt is not null and createdAt between '2022-03-02 23:29:04+00' and '2022-03-02 23:29:05.999999+00'
        as created_at_is_floor,
    lastModified as last_modified_at,
    -- Downloads of an earlier month say nothing about this one. A count below zero is no count.
    case when not is_gone and downloads >= 0 then downloads end as downloads_30d,
    case when downloadsAllTime >= 0 then downloadsAllTime end as downloads_all_time,
    case when likes >= 0 then likes end as likes,
    pipeline_tag,
    library_name,
    case when config_json ->> '$.model_type' not in ('', 'unknown') then config_json ->> '$.model_type' end
        as config_type,
    nullif(gguf_json ->> '$.architecture', '') as gguf_type,
    config_json ->> '$.architectures[0]' as architecture,
    coalesce(
        substr(license_tags[1], length('license:') + 1),
        case json_type(card_json, '$.license')
            when 'ARRAY' then card_json ->> '$.license[0]'
            when 'VARCHAR' then card_json ->> '$.license'
        end
    ) as license,
    coalesce(
        case when safetensors.total >= 0 then safetensors.total end,
        case when try_cast(gguf_json ->> '$.total' as bigint) >= 0 then try_cast(gguf_json ->> '$.total' as bigint) end
    ) as n_parameters,
    coalesce(
        coalesce(json_type(config_json, '$.quantization_config') <> 'NULL', false)
        or coalesce(json_type(gguf_json) = 'OBJECT', false)
        or coalesce(baseModels.relation = 'quantized', false)
        or list_has_any(coalesce(tags, []), ['gguf', 'gptq', 'awq', 'exl2', 'bitsandbytes', '4-bit', '8-bit'])
        or list_has_any(coalesce(dtypes, []), ['I8', 'U8', 'I4', 'F8_E4M3', 'F8_E5M2', 'F4'])
        or len([t for t in coalesce(tags, []) if starts_with(t, 'base_model:quantized:')]) > 0
        or len([f for f in coalesce(weight_files, []) if ends_with(lower(f), '.gguf')]) > 0,
        false
    ) as is_quantized,
    case
        when siblings is not null then list_contains(siblings, 'README.md')
        when cardData is not null then true
    end as has_card,
    case
        when siblings is not null then len(weight_files) > 0
        when safetensors is not null or gguf is not null then true
    end as has_weights,
    siblings is not null and len(weight_files) = 0 and safetensors is null and gguf is null as is_without_weights
from parsed;

with modalities as (
    select unnest(tags) as pipeline_tag, modality from (
        values
        ('nlp', ['text-generation', 'text2text-generation', 'fill-mask', 'token-classification', 'text-classification',
            'question-answering', 'summarization', 'translation', 'sentence-similarity', 'feature-extraction',
            'zero-shot-classification', 'conversational', 'table-question-answering', 'text-ranking', 'table-to-text',
            'multiple-choice', 'text-retrieval']),
        ('vision', ['image-classification', 'object-detection', 'image-segmentation', 'text-to-image',
            'image-to-image', 'unconditional-image-generation', 'depth-estimation', 'mask-generation',
            'zero-shot-image-classification', 'zero-shot-object-detection', 'image-feature-extraction',
            'keypoint-detection', 'video-classification', 'text-to-video', 'image-to-video', 'video-to-video',
            'text-to-3d', 'image-to-3d']),
        ('audio', ['automatic-speech-recognition', 'audio-classification', 'text-to-speech', 'text-to-audio',
            'audio-to-audio', 'voice-activity-detection']),
        ('multimodal', ['image-text-to-text', 'image-to-text', 'visual-question-answering',
            'document-question-answering', 'video-text-to-text', 'any-to-any', 'visual-document-retrieval',
            'audio-text-to-text', 'image-text-to-image', 'image-text-to-video']),
        ('other', ['reinforcement-learning', 'robotics', 'tabular-classification', 'tabular-regression',
            'time-series-forecasting', 'graph-ml', 'other'])
    ) as mapping(modality, tags)
)
select
    getvariable('snapshot') as snapshot,
    wanted_rows.id as model_id,
    coalesce(nullif(author, ''), case when contains(wanted_rows.id, '/') then split_part(wanted_rows.id, '/', 1) end)
        as author,
    created_at,
    coalesce(created_at_is_floor, false) as created_at_is_floor,
    last_modified_at,
    downloads_30d,
    downloads_all_time,
    likes,
    pipeline_tag,
    modality,
    library_name,
    coalesce(config_type, tag_types.model_type, gguf_type) as model_type,
    architecture,
    license,
    n_parameters,
    coalesce(is_quantized, false) as is_quantized,
    has_card,
    has_weights,
    case when is_gone then 'removed' when is_without_weights then 'without_weights' else 'present' end as presence,
    case when is_gone then snapshot end as restored_from
from wanted_rows
left join facts using (id)
left join tag_types using (id)
left join modalities using (pipeline_tag)
order by model_id
