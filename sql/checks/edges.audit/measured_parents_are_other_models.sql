-- No model is its own measured parent, and a contradicted parent is not among the measured ones, unless its relation is
-- wrong or others are missing beside it.
select child_id, parent_id, finding, measured_parent_ids
from edges.audit
where list_contains(measured_parent_ids, child_id)
    or (
        verdict = 'contradicts' and list_contains(measured_parent_ids, parent_id)
        and finding not in ('wrong_relation', 'missing_merge_parents')
    )
