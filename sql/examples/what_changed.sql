-- What changed from the last snapshot but one to the last: models and documented parents that came, went, or are another.
with
newest as (select distinct snapshot from components.models order by snapshot desc limit 2),
later as (select max(snapshot) as snapshot from newest),
earlier as (select min(snapshot) as snapshot from newest having count(*) = 2),
models_now as (from components.models semi join later using (snapshot)),
models_then as (from components.models semi join earlier using (snapshot)),
parents_now as (
    select child_id, parent_id, relation from components.parents semi join later using (snapshot) where is_kept
),
parents_then as (
    select child_id, parent_id, relation from components.parents semi join earlier using (snapshot) where is_kept
),
model_changes as (
    select
        coalesce(n.model_id, t.model_id) as model_id,
        case
            when t.model_id is null then 'new model'
            when n.model_id is null then 'forgotten model'
            when n.presence <> t.presence then 'model is ' || replace(n.presence, '_', ' ')
            when n.license is distinct from t.license then 'other license'
        end as change,
        case when n.license is distinct from t.license and t.model_id is not null and n.model_id is not null
            then concat(coalesce(t.license, 'none'), ' to ', coalesce(n.license, 'none')) end as detail
    from models_now as n full join models_then as t on t.model_id = n.model_id
),
parent_changes as (
    select
        coalesce(n.child_id, t.child_id) as model_id,
        case
            when t.child_id is null then 'new parent'
            when n.child_id is null then 'parent gone'
            when n.relation <> t.relation then 'other relation'
        end as change,
        coalesce(n.parent_id, t.parent_id) || ' (' || coalesce(n.relation, t.relation) || ')' as detail
    from parents_now as n full join parents_then as t on t.child_id = n.child_id and t.parent_id = n.parent_id
)
select change, model_id, detail
from (from model_changes union all from parent_changes)
where change is not null and exists (from earlier)
order by change, model_id, detail;
