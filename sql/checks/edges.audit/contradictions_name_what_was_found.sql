-- Who is contradicted gets a message that names the model, and something was measured: other parents, another relation,
-- the opposite direction, or weights that share nothing. Who is not gets none.
select child_id, parent_id, verdict, finding, measured_parent_ids, measured_relation, message
from edges.audit
where (verdict = 'contradicts') <> coalesce(length(trim(message)) > 0, false)
    or (
        verdict = 'contradicts'
        and len(measured_parent_ids) = 0
        and finding not in ('unrelated_weights', 'descendant_declared', 'wrong_relation')
    )
    or (finding = 'wrong_relation' and coalesce(measured_relation, declared_relation) = declared_relation)
