-- No model has parents both in the atlas and among the arrivals. Red: the partition was charted again since; make the
-- arrivals again too.
-- reads: edges.charted
select distinct a.child_id
from edges.arrivals as a
join edges.charted as e using (child_id)
