-- One row for each model of the snapshot, and for each model that is gone but still somebody's parent.
-- Reads raw.hub_stats up to the snapshot and components.parents.
with
listed as (
    select * from raw.hub_stats
    where not is_rejected and snapshot <= getvariable('snapshot')
    qualify row_number() over (partition by id order by snapshot desc) = 1
),
named as (
    select distinct parent_id as id from components.parents
    where is_kept and parent_id not in (select id from listed where snapshot = getvariable('snapshot'))
),
chosen as (
    select listed.*, null::varchar as restored_from, false as is_gone from listed where snapshot = getvariable('snapshot')
    union all by name
    select listed.* exclude (id), named.id, listed.snapshot as restored_from, true as is_gone
    from named left join listed using (id)
),
known_types as (
    select distinct try_cast(config as json) ->> '$.model_type' as model_type
    from raw.hub_stats where snapshot <= getvariable('snapshot') and config is not null and contains(config, 'model_type')
    -- A model type that is also a task or a library would be found in the tags of models that it has no part in.
    except select pipeline_tag from raw.hub_stats
    except select library_name from raw.hub_stats
),
tag_types as (
    -- Where the snapshot has no config, the Hub's tags still name the model type, among others.
    select id, arg_min(tag, position) as model_type
    from (select id, unnest(tags) as tag, generate_subscripts(tags, 1) as position from chosen where config is null)
    join known_types on known_types.model_type = tag
    where tag <> 'unknown' and not contains(tag, ':')
    group by id
),
parsed as (
    select
        chosen.*,
        try_cast(config as json) as config_json,
        try_cast(cardData as json) as card_json,
        try_cast(gguf as json) as gguf_json,
        tag_types.model_type as tag_type,
        [t for t in coalesce(tags, []) if starts_with(t, 'license:') and length(t) > length('license:')]
            as license_tags,
        map_keys(safetensors.parameters) as dtypes,
        [f for f in siblings
            if regexp_matches(lower(f), '\.(safetensors|bin|gguf|ggml|pt|pth|th|ckpt|h5|hdf5|onnx|msgpack|tflite|pb|keras|npz|npy|'
                || 'pkl|joblib|skops|nemo|zip|ot|pdparams|mlmodel|data-[0-9]+-of-[0-9]+)$')
            and not regexp_matches(lower(f), '(training_args|optimizer|scheduler|rng_state|tokenizer)')] as weight_files
    from chosen left join tag_types using (id)
)
select
    getvariable('snapshot') as snapshot,
    id as model_id,
    coalesce(nullif(author, ''), case when contains(id, '/') then split_part(id, '/', 1) end) as author,
    createdAt as created_at,
    createdAt is not null and createdAt between '2022-03-02 23:29:04+00' and '2022-03-02 23:29:05.999999+00'
        as created_at_is_floor,
    lastModified as last_modified_at,
    -- Downloads of an earlier month say nothing about this one. A count below zero is no count.
    case when not is_gone and downloads >= 0 then downloads end as downloads_30d,
    case when downloadsAllTime >= 0 then downloadsAllTime end as downloads_all_time,
    case when likes >= 0 then likes end as likes,
    pipeline_tag,
    modalities.modality,
    library_name,
    coalesce(
        case when config_json ->> '$.model_type' not in ('', 'unknown') then config_json ->> '$.model_type' end,
        tag_type,
        nullif(gguf_json ->> '$.architecture', '')
    ) as model_type,
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
    case
        when is_gone then 'removed'
        when siblings is not null and len(weight_files) = 0 and safetensors is null and gguf is null
            then 'without_weights'
        else 'present'
    end as presence,
    restored_from
from parsed left join (
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
) as modalities using (pipeline_tag)
order by model_id
