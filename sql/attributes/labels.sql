-- What the numbered models report of themselves, and their set of sibling leaves (-1 for none).
-- Reads lineage_models, lineage_parents, components.models and impact.
with
relations as (
    -- A model with parents of several relations has no single label.
    select
        child_id as model_id,
        count(distinct relation) > 1 as is_mixed,
        case when count(distinct relation) = 1 then any_value(relation) end as relation
    from lineage_parents
    where relation <> 'unknown'
    group by child_id
)
select
    case when hub_id is not null then dense_rank() over (order by hub_id) - 1 else -1 end::int as hub,
    models.pipeline_tag,
    models.library_name,
    models.model_type,
    models.license,
    relations.relation,
    coalesce(relations.is_mixed, false) as has_mixed_relations
from lineage_models
join components.models as models using (model_id)
join components.impact as impact using (model_id)
left join relations using (model_id)
order by node
