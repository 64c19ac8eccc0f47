-- Parents about which sources disagree: who names this one, who names another, and what became of the edge.
select child_id, parent_id, relation, sources, disagreeing_sources, is_kept, drop_reason
from components.parents
where snapshot = (select max(snapshot) from components.parents) and len(disagreeing_sources) > 0
order by child_id, parent_id
limit 20;
