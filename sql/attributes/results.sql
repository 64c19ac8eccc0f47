-- Every reported result under one name and in one unit, or with the problem.
-- Reads reported (results_reported.sql), benchmark_names, metric_names and benchmark_metrics (data files).
--
-- Shares may be reported in percent. Which it is, is told
-- * by a percent sign;
-- * on a leaderboard by all values of a benchmark together: 0.5 among values to 80 is half a percent;
-- * in authors' results by the model's results that stand together: in percent, if of the metrics that end at 1 more lie
--   above 1 than below, each value for itself otherwise;
-- * for error rates, which may exceed 1, likewise. Where nothing else tells, those from 1 to 3 stay untold.
with
read as (
    select
        *,
        -- A number, a percent sign, the spread of several runs. RE2 takes linear time.
        regexp_extract(
            reported_value,
            '^\s*([+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?)\s*(%?)\s*(?:(?:±|\+/?-)\s*[0-9.]{1,40}\s*(%?)\s*)?$',
            ['number', 'percent', 'percent_after']
        ) as parts,
        try_cast(trim(reported_value) as double) as plain
    from reported
),
numbers as (
    select
        * exclude (parts, plain),
        try_cast(nullif(parts.number, '') as double) as number,
        parts.percent || parts.percent_after <> '' as is_percent,
        plain is not null and not isfinite(plain) as is_endless
    from read
),
named as (
    -- A result without a metric is in the benchmark's usual one; a leaderboard's is at least a score.
    select
        numbers.*, benchmark_names.benchmark,
        coalesce(metric_names.metric, usual_metric, case when source = 'leaderboard' then 'score' end) as named_metric,
        case when metric_names.metric is null
            then coalesce(usual_unit, case when source = 'leaderboard' then 'points' end) else metric_names.unit
        end as unit,
        case when metric_names.metric is null then usual_least else metric_names.least end as least,
        case when metric_names.metric is null then usual_greatest else metric_names.greatest end as greatest
    from numbers
    left join benchmark_names
        on benchmark_names.reported_benchmark is not distinct from numbers.reported_benchmark
        and benchmark_names.reported_config is not distinct from numbers.reported_config
    left join metric_names
        on metric_names.reported_metric is not distinct from numbers.reported_metric
        and metric_names.metric_type is not distinct from numbers.metric_type
),
meant as (
    -- What the page of a result makes of a metric comes first, then what it is for the benchmark anywhere.
    select
        named.* exclude (named_metric),
        coalesce(there.means, anywhere.means, named_metric) as metric
    from named
    left join benchmark_metrics as there
        on there.place <> '' and starts_with(named.place, there.place)
        and there.benchmark = named.benchmark and there.metric = named.named_metric
    left join benchmark_metrics as anywhere
        on anywhere.place = '' and anywhere.benchmark = named.benchmark and anywhere.metric = named.named_metric
),
apart as (
    -- Normalised accuracy is what leaderboards call accuracy; where a source gives both, the other one is told apart.
    select
        * exclude (metric),
        case
            when metric = 'accuracy_normalized' then 'accuracy'
            when metric = 'accuracy' and bool_or(metric = 'accuracy_normalized') over (
                partition by model_id, source, place, benchmark
            ) then 'accuracy_unnormalized'
            else metric
        end as metric
    from meant
),
boards as (
    -- One slip among many values must not turn a board over.
    select leaderboard, benchmark, quantile_disc(abs(number), 0.95) > 1 as is_in_percent
    from apart
    where source = 'leaderboard' and unit = 'share' and isfinite(number)
    group by all
),
company as (
    select
        *,
        coalesce(unit = 'share' and problem is null and number <> 0, false) as counts,
        abs(number) > 1 or is_percent as is_above_1
    from apart
),
counted as (
    select
        company.* exclude (counts, is_above_1),
        boards.is_in_percent as board_is_in_percent,
        count(*) filter (counts and greatest is not null and is_above_1) over together as n_above,
        count(*) filter (counts and greatest is not null and not is_above_1) over together as n_below,
        count(*) filter (counts and greatest is null and is_above_1) over together as n_rates_above,
        count(*) filter (counts and greatest is null and not is_above_1) over together as n_rates_below,
        max(abs(number)) filter (counts and greatest is null) over together as greatest_rate
    from company
    left join boards
        on company.source = 'leaderboard' and boards.leaderboard = company.leaderboard
        and boards.benchmark is not distinct from company.benchmark
    window together as (partition by model_id, source, company.leaderboard, place)
),
scaled as (
    select
        *,
        case
            when unit is distinct from 'share' then false
            when is_percent then true
            when source = 'leaderboard' then board_is_in_percent
            when greatest is not null then n_above > n_below or abs(number) > 1
            when n_above + n_below > 0 then n_above > n_below or abs(number) > 3
            when n_rates_above <= n_rates_below then abs(number) > 3
            when greatest_rate > 3 then true
        end as is_in_percent
    from counted
),
valued as (
    select *, case when is_in_percent then round(number / 100, 12) else number end as in_unit from scaled
),
judged as (
    select
        * exclude (problem),
        coalesce(problem, case
            when is_endless then 'not finite'
            when number is null then 'no number'
            when not isfinite(number) then 'not finite'
            when is_in_percent is null then 'share or percent: nothing tells which'
            when in_unit < least - 1e-9 or in_unit > coalesce(greatest, case when unit = 'share' then 3 end) + 1e-9
                or unit = 'share' and in_unit < -3
                then 'out of the bounds of the metric'
        end) as value_problem
    from valued
)
select
    getvariable('snapshot') as snapshot,
    model_id,
    source,
    leaderboard,
    position,
    reported_benchmark,
    coalesce(reported_metric, metric_type) as reported_metric,
    reported_value,
    benchmark,
    metric,
    case when value_problem is null then in_unit end as value,
    case when value_problem is null then unit end as unit,
    is_self_reported,
    source_url,
    coalesce(value_problem, case
        when benchmark is null then 'no benchmark is named'
        when metric is null then 'no metric is named'
    end) as problem
from judged
order by model_id, source, leaderboard, position
