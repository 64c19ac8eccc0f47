-- What was dropped names no model, or the child itself; what was understood under the same name differs in nothing else.
select snapshot, child_id, source, declared_parent, parent_id, resolution, drop_reason
from components.claims
where (resolution = 'not_a_model') <> (drop_reason in ('not_a_model_id', 'local_path') and drop_reason is not null)
    or (drop_reason = 'self_loop') <> (child_id = parent_id and resolution <> 'not_a_model' and drop_reason is not null)
