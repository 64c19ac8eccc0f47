-- Every kept documented edge of the latest snapshot whose child belongs to an audited partition is there: what cannot
-- be judged is undecided, not missing.
-- reads: components.parents, components.regions
select p.child_id, p.parent_id
from components.parents as p
join components.regions as r on r.snapshot = p.snapshot and r.model_id = p.child_id
left join edges.audit as a on a.child_id = p.child_id and a.parent_id = p.parent_id
where p.is_kept
    and p.snapshot = (select max(snapshot) from components.parents)
    and r.region_partition = coalesce(getvariable('partition'), r.region_partition)
    and a.child_id is null
