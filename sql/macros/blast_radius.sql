-- What is touched if something is wrong with a model: every descendant with how sure that is and how much it is used.
create macro blast_radius(id) as table
with
below as (from descendants(id)),
described as (
    select model_id, presence, license, downloads_30d, likes, created_at
    from components.models
    where model_id in (select model_id from below) and snapshot = (select max(snapshot) from components.models)
)
select b.model_id, b.steps, b.confidence, m.presence, m.license, m.downloads_30d, m.likes, m.created_at
from below as b left join described as m on m.model_id = b.model_id
order by m.downloads_30d desc nulls last, b.model_id;
