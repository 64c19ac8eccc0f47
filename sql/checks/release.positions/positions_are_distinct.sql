-- No two models are at one place, and every place is in the plane: a finite number to the right and one upwards.
select x, y, count(*) as n_models, min(model_id) as model_id
from release.positions
group by x, y
having count(*) > 1 or not coalesce(isfinite(x) and isfinite(y), false)
