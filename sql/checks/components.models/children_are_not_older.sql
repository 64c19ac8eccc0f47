-- Kept edges whose child was created before its parent. A few are real (an organisation publishes the instruct model
-- minutes before its base); many would mean that dates or parents are wrong.
-- severity: warning
-- reads: components.parents
select snapshot, child_id, parent_id from components.parents where is_kept and child_is_older
