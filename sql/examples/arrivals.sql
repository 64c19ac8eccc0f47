-- What is new in the atlas: models that came after their partition was charted, the least certain parents first.
select
    child_id, parent_id, relation, rule, round(confidence, 3) as confidence, is_ambiguous, evidence.candidates
from edges.arrivals
order by confidence, child_id, parent_id
limit 20;
