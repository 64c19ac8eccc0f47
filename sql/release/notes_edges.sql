-- Edges that are another now, or gone, whose child is downloaded most.
select
    e.child_id, e.parent_id, e.change,
    array_to_string([concat(d.attribute, ': ', d.before, ' to ', d.after) for d in e.differences], '; ') as what
from release.edge_changes as e
left join components.models as m
    on m.model_id = e.child_id and m.snapshot = (select max(snapshot) from components.models)
where e.change <> 'new'
order by m.downloads_30d desc nulls last, e.child_id, e.parent_id
limit getvariable('mentioned');
