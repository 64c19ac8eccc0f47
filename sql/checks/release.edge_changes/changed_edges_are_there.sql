-- New and changed edges are edges of this release, gone ones are not, and what is changed says how.
-- reads: edges.charted
select child_id, parent_id, change
from release.edge_changes as c
where (change = 'gone') = exists (from edges.charted as e where e.child_id = c.child_id and e.parent_id = c.parent_id)
    or (change = 'changed') <> (len(differences) > 0)
