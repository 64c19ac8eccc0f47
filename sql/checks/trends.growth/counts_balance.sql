-- What stayed, changed or went is what there was; what stayed, changed or is new is what there is. The snapshot before
-- is an earlier one.
with balanced as (
    select
        snapshot, thing, n_previous, n_current, previous_snapshot,
        coalesce(sum(n) filter (where change <> 'new'), 0) as n_seen_before,
        coalesce(sum(n) filter (where change <> 'gone'), 0) as n_seen_now
    from trends.growth
    group by all
)
select * from balanced
where n_seen_before <> n_previous or n_seen_now <> n_current or previous_snapshot >= snapshot
