-- What all sources report, one row for each result, before names and units.
-- Reads model_index_results, leaderboard_results, and card_results and llm_results, which are made in Python.
-- Leaves the table reported.
create or replace temp table reported as
select
    model_id, source, leaderboard, position, reported_benchmark, reported_config, reported_metric, metric_type,
    reported_value, is_self_reported, source_url, problem,
    -- Results of one model on one page are in percent all, or none of them is.
    coalesce(regexp_extract(source_url, 'huggingface\.co/(?:spaces|datasets)/([^/?#]{1,100}/[^/?#]{1,100})', 1), '') as place
from (
    select 'model_index' as source, '' as leaderboard, * from model_index_results
    union all by name
    select 'leaderboard' as source, null as reported_config, null as reported_metric, null as metric_type,
        false as is_self_reported, null as source_url, *
    from leaderboard_results
    union all by name
    select 'card_table' as source, '' as leaderboard, null as metric_type, * from card_results
    union all by name
    select 'llm' as source, '' as leaderboard, null as reported_config, null as metric_type, true as is_self_reported,
        null as source_url, *
    from llm_results
);

select count(*) as n_results from reported;
