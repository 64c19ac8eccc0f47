-- Models with equal files have equal neurons; an adapter's also depend on its base.
select a.model_id, b.model_id as other_id, a.content_sha256
from features.models as a
join features.models as b using (content_sha256)
where a.model_id < b.model_id
    and a.vector_group = b.vector_group
    and a.base_id is not distinct from b.base_id
    and a.sampled_sha256 <> b.sampled_sha256
