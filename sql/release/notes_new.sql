-- The new models that are downloaded most.
select c.model_id, m.downloads_30d, m.license
from release.model_changes as c
join components.models as m on m.model_id = c.model_id
where c.change = 'new' and m.snapshot = (select max(snapshot) from components.models)
order by m.downloads_30d desc nulls last, c.model_id
limit getvariable('mentioned');
