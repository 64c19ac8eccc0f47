-- A model is one deeper than the deepest of its parents, and without parents its depth is 0.
-- reads: components.parents
with parents as (
    select i.snapshot, i.model_id, i.depth, max(q.depth) as deepest_parent
    from components.impact as i
    left join components.parents as p on p.snapshot = i.snapshot and p.child_id = i.model_id and p.is_kept
    left join components.impact as q on q.snapshot = p.snapshot and q.model_id = p.parent_id
    group by all
)
select * from parents where depth <> coalesce(deepest_parent + 1, 0)
