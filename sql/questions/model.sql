-- What is known of one model of the latest snapshot, whatever the case of its name; no row if there is none.
select
    m.model_id, m.presence, m.created_at, m.downloads_30d, m.likes, m.license, m.pipeline_tag, m.library_name,
    m.n_parameters, r.region_id, r.region_size, i.depth, i.n_children, i.n_descendants
from components.models as m
left join components.regions as r on r.model_id = m.model_id and r.snapshot = m.snapshot
left join components.impact as i on i.model_id = m.model_id and i.snapshot = m.snapshot
where lower(m.model_id) = lower($model_id) and m.snapshot = (select max(snapshot) from components.models)
order by m.model_id <> $model_id, m.model_id
limit 1;
