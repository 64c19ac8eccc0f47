-- Charted parents that were created after their child: charting follows time, so there should be none. (Documented
-- ones are shown by components.models, children_are_not_older.)
-- severity: warning
-- reads: components.models
select e.child_id, e.parent_id, e.rule
from edges.charted as e
join components.models as c on c.model_id = e.child_id
join components.models as p on p.model_id = e.parent_id and p.snapshot = c.snapshot
where e.origin = 'charted' and c.snapshot = (select max(snapshot) from components.models)
    and c.created_at < p.created_at
