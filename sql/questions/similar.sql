-- Models whose names are most like a name that nobody has.
select model_id
from components.models
where snapshot = (select max(snapshot) from components.models)
order by
    jaro_winkler_similarity(lower(model_id), lower($model_id)) desc,
    downloads_30d desc nulls last,
    model_id
limit 3;
