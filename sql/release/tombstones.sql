-- Models that an earlier snapshot listed and the latest does not, under that name.
-- Reads raw.hub_stats and components.models of all snapshots, and edges.charted.
with
listed as (select snapshot, id as model_id, _id as repository_id from raw.hub_stats where not is_rejected),
snapshots as (select distinct snapshot from listed),
present as (from listed where snapshot = (select max(snapshot) from snapshots)),
gone as (
    select model_id, max(snapshot) as last_snapshot, arg_max(repository_id, snapshot) as repository_id
    from listed anti join present using (model_id)
    group by model_id
),
renamed as (
    select gone.model_id, min(present.model_id) as renamed_to
    from gone join present using (repository_id)
    group by gone.model_id
),
children as (select parent_id as model_id, count(*) as n_broken_references from edges.charted group by parent_id)
select
    gone.model_id,
    gone.last_snapshot,
    (select min(s.snapshot) from snapshots as s where s.snapshot > gone.last_snapshot) as gone_by_snapshot,
    gone.repository_id,
    renamed.renamed_to,
    models.license,
    models.downloads_30d,
    coalesce(children.n_broken_references, 0) as n_broken_references
from gone
left join renamed on renamed.model_id = gone.model_id
left join components.models as models on models.model_id = gone.model_id and models.snapshot = gone.last_snapshot
left join children on children.model_id = gone.model_id
order by gone.model_id;
