-- No model is kept as its own parent.
select snapshot, child_id from components.parents where is_kept and child_id = parent_id
