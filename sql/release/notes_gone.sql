-- The models that are gone and still somebody's parent, the most named first.
select model_id, last_snapshot, renamed_to, n_broken_references
from release.tombstones
where n_broken_references > 0
order by n_broken_references desc, model_id
limit getvariable('mentioned');
