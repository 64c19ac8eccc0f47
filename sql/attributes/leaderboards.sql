-- Results of the files of ATLAS_EVALUATIONS for the models of the snapshot, in an order that does not rest on the files'.
-- Reads given(model_id, leaderboard, benchmark, value) and components.models. Leaves the table leaderboard_results.
create or replace temp table leaderboard_results as
select
    models.model_id,
    coalesce(left(given.leaderboard, 200), '') as leaderboard,
    row_number() over (
        partition by models.model_id, coalesce(left(given.leaderboard, 200), '') order by given.benchmark, given.value
    ) as position,
    left(given.benchmark, 200) as reported_benchmark,
    coalesce(left(given.value, 200), '') as reported_value,
    case
        when given.value is null then 'no value'
        when coalesce(given.leaderboard, '') = '' then 'no leaderboard is named'
    end as problem
from given join components.models as models on models.model_id = given.model_id;

select count(distinct model_id) as n_strangers
from given
where model_id not in (select model_id from components.models);
