-- n_children is the number of kept edges to children, and a leaf has none; descendants are at least the children.
-- reads: components.parents
with counted as (
    select i.snapshot, i.model_id, i.is_leaf, i.n_children, i.n_descendants, count(p.child_id) as n_edges
    from components.impact as i
    left join components.parents as p on p.snapshot = i.snapshot and p.parent_id = i.model_id and p.is_kept
    group by all
)
select * from counted where n_children <> n_edges or is_leaf <> (n_edges = 0) or n_descendants < n_edges
