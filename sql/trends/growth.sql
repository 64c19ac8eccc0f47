-- What became of the models and kept edges of the snapshot before, which is the last of the earlier ones. An edge is
-- changed where it stands in both under another relation. No rows where there is no earlier snapshot.
-- Reads components.models and components.parents of this snapshot and earlier ones.
with
before as (
    select max(snapshot) as snapshot from components.models where snapshot < getvariable('snapshot')
),
-- A removed model is gone, though it stands among the models while somebody names it as a parent.
listed as (
    select snapshot, model_id, null as parent_id, null as relation, 'models' as thing
    from components.models where presence <> 'removed'
    union all
    select snapshot, child_id, parent_id, relation, 'edges' from components.parents where is_kept
),
current as (from listed where snapshot = getvariable('snapshot')),
previous as (select listed.* from listed semi join before using (snapshot)),
compared as (
    select
        coalesce(current.thing, previous.thing) as thing,
        case
            when previous.thing is null then 'new'
            when current.thing is null then 'gone'
            when current.relation is distinct from previous.relation then 'changed'
            else 'stayed'
        end as change
    from current full join previous
        on current.thing = previous.thing and current.model_id = previous.model_id
        and coalesce(current.parent_id, '') = coalesce(previous.parent_id, '')
),
counted as (select thing, change, count(*) as n from compared group by all),
kinds as (
    select * from (values
        ('models', 'new'), ('models', 'gone'), ('models', 'stayed'),
        ('edges', 'new'), ('edges', 'gone'), ('edges', 'stayed'), ('edges', 'changed')
    ) as kinds(thing, change)
)
select
    getvariable('snapshot') as snapshot,
    before.snapshot as previous_snapshot,
    thing,
    change,
    coalesce(n, 0) as n,
    (sum(coalesce(n, 0)) filter (where change <> 'new') over (partition by thing))::bigint as n_previous,
    (sum(coalesce(n, 0)) filter (where change <> 'gone') over (partition by thing))::bigint as n_current
from kinds left join counted using (thing, change), before
where before.snapshot is not null
order by thing, change
