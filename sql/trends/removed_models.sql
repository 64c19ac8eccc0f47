-- Models that are gone but still somebody's parent, with the references that broke with them, the most first.
-- Reads components.models, components.parents and components.impact.
with broken as (
    select parent_id as model_id, count(*) as n_broken_references from components.parents where is_kept group by all
)
select
    getvariable('snapshot') as snapshot,
    models.model_id, models.restored_from,
    coalesce(broken.n_broken_references, 0) as n_broken_references,
    impact.n_descendants, impact.descendant_downloads
from components.models as models
join components.impact as impact using (model_id)
left join broken using (model_id)
where models.presence = 'removed'
order by n_broken_references desc, model_id
