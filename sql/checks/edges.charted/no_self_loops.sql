-- No model is its own parent.
select child_id from edges.charted where child_id = parent_id
