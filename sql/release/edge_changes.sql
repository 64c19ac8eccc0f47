-- Edges that are new, gone or described otherwise since the last release. Reads release.editions.
-- A confidence is another one when it differs by a tenth: smaller moves are those of a calibration learnt anew.
with
edges as (from release.editions where parent_id <> ''),
now as (from edges where is_latest),
before as (from edges where not is_latest),
compared as (
    select
        coalesce(now.model_id, before.model_id) as child_id,
        coalesce(now.parent_id, before.parent_id) as parent_id,
        case when before.model_id is null then 'new' when now.model_id is null then 'gone' else 'changed' end as change,
        coalesce(now.origin, before.origin) as origin,
        [
            difference for difference in [
                {'attribute': 'relation', 'before': before.relation, 'after': now.relation},
                {'attribute': 'origin', 'before': before.origin, 'after': now.origin},
                {'attribute': 'rule', 'before': before.rule, 'after': now.rule}
            ] if difference.before is distinct from difference.after
        ] || case when abs(now.confidence - before.confidence) >= 0.1
            then [{
                'attribute': 'confidence',
                'before': format('{:.2f}', before.confidence),
                'after': format('{:.2f}', now.confidence)
            }]
            else [] end as differences
    from now full join before on before.model_id = now.model_id and before.parent_id = now.parent_id
)
select child_id, parent_id, change, origin, case when change = 'changed' then differences else [] end as differences
from compared
where (change <> 'changed' or len(differences) > 0)
    and exists (from release.editions where not is_latest)
order by child_id, parent_id;
