-- Documented edges by relation, of the latest snapshot.
select relation, share, n_edges
from trends.relation_types
where snapshot = (select max(snapshot) from trends.relation_types) and modality = 'all'
order by share desc, relation
