-- A parent that is said to share nothing with the child has other shapes, or lies far from it, and further than what was
-- measured.
select child_id, parent_id, declared_relative_distance, measured_relative_distance
from edges.audit
where finding = 'unrelated_weights'
    and (declared_relative_distance < 0.5 or measured_squared_distance >= declared_squared_distance)
