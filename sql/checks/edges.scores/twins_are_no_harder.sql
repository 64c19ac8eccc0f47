-- Whatever is right strictly is right with twins accepted too. Red: the groups of twins are not those of the truth.
select s.region_id, s.method, s.documentation, s.subset, s.breakdown, s.breakdown_value,
    s.accuracy as strict_accuracy, t.accuracy as twins_accuracy, s.recall as strict_recall, t.recall as twins_recall
from edges.scores as s
join edges.scores as t using (region_id, method, documentation, subset, breakdown, breakdown_value)
where s.matching = 'strict' and t.matching = 'twins'
    and (t.accuracy < s.accuracy or t.precision < s.precision or t.recall < s.recall)
