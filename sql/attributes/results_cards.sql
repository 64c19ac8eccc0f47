-- Cards that hold a pipe table or a Trainer's list of results, each with the one data set that its results can be of.
-- Reads raw.cards, components.cards, components.models and model_index_results (model_index.sql).
with
named as (
    -- Benchmark and configuration, where all of a model-index is of one.
    select model_id, any_value(reported_benchmark) as benchmark, any_value(reported_config) as config
    from model_index_results
    where reported_benchmark is not null
    group by model_id
    having count(distinct (reported_benchmark, coalesce(reported_config, ''))) = 1
),
declared as (
    select
        model_id,
        case json_type(try_cast(metadata as json), '$.datasets')
            when 'VARCHAR' then [try_cast(metadata as json) ->> '$.datasets']
            when 'ARRAY' then json_extract_string(try_cast(metadata as json), '$.datasets[*]')
        end as datasets
    from components.cards
    where contains(metadata, 'datasets')
)
select
    cards.model_id,
    cards.card,
    named.benchmark,
    named.config,
    case when len(declared.datasets) = 1 then left(declared.datasets[1], 200) end as dataset
from raw.cards as cards
semi join components.models as models using (model_id)
left join named using (model_id)
left join declared using (model_id)
where regexp_matches(cards.card, '\n[ \t]{0,8}\|?[ \t]{0,40}:?-+:?[ \t]{0,200}\|')
    or regexp_matches(cards.card, 'achiev(es|ed) the following result', 'i')
order by cards.model_id
