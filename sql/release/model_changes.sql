-- Models that are new, gone or described otherwise since the last release. Reads release.editions.
with
models as (from release.editions where parent_id = ''),
now as (from models where is_latest),
before as (from models where not is_latest),
compared as (
    select
        coalesce(now.model_id, before.model_id) as model_id,
        case when before.model_id is null then 'new' when now.model_id is null then 'gone' else 'changed' end as change,
        [
            difference for difference in [
                {'attribute': 'presence', 'before': before.presence, 'after': now.presence},
                {'attribute': 'license', 'before': before.license, 'after': now.license},
                {'attribute': 'pipeline_tag', 'before': before.pipeline_tag, 'after': now.pipeline_tag}
            ] if difference.before is distinct from difference.after
        ] as differences
    from now full join before on before.model_id = now.model_id
)
select model_id, change, case when change = 'changed' then differences else [] end as differences
from compared
where (change <> 'changed' or len(differences) > 0)
    and exists (from release.editions where not is_latest)
order by model_id;
