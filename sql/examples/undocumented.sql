-- What undocumented models were made from, the surest first.
select child_id, parent_id, relation, rule, confidence, is_ambiguous
from atlas_edges
where origin = 'charted'
order by confidence desc, child_id
limit 20;
