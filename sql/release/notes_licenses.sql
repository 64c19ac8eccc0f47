-- The models under another license that are downloaded most.
select c.model_id, d.before, d.after, m.downloads_30d
from release.model_changes as c, unnest(c.differences) as u(d)
join components.models as m on m.model_id = c.model_id
where d.attribute = 'license' and m.snapshot = (select max(snapshot) from components.models)
order by m.downloads_30d desc nulls last, c.model_id
limit getvariable('mentioned');
