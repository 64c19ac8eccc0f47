-- What to tell authors first: models whose documentation the weights contradict, the most downloaded first. The text
-- for the author is in the column message.
select
    audit.child_id, models.downloads_30d, audit.parent_id as declared_parent, audit.declared_relation,
    audit.finding, audit.measured_parent_ids, audit.measured_relation, round(audit.confidence, 3) as confidence
from edges.audit as audit
join components.models as models
    on models.model_id = audit.child_id and models.snapshot = (select max(snapshot) from components.models)
where audit.verdict = 'contradicts'
order by models.downloads_30d desc nulls last, audit.child_id, audit.parent_id
limit 20;
