-- What this release says of each model and edge, and what the last one of another version said.
-- Reads components.models, edges.charted and the relation before: the table as it was.
with
last_release as (
    from before
    where version <> getvariable('version')
        and is_latest = (select bool_or(is_latest) from before where version <> getvariable('version'))
),
this_release as (
    select
        model_id, '' as parent_id, presence, license, pipeline_tag, null as relation, null as origin, null as rule,
        null as confidence
    from components.models
    union all
    select child_id, parent_id, null, null, null, relation, origin, rule, confidence from edges.charted
)
select getvariable('version') as version, true as is_latest, this_release.* from this_release
union all by name
select * replace (false as is_latest) from last_release
order by version, model_id, parent_id;
