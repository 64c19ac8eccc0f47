-- Names that mean a model of the latest snapshot but are not its own. Reads release.tombstones and components.claims.
with named as (
    select model_id as alias, renamed_to as model_id, 'renamed' as source from release.tombstones
    where renamed_to is not null
    union all
    select declared_parent, parent_id, case resolution when 'alias' then 'hand_made' else 'letter_case' end
    from components.claims
    where resolution in ('alias', 'letter_case') and declared_parent <> parent_id
)
select alias, arg_min(model_id, (source <> 'renamed', source, model_id)) as model_id,
    arg_min(source, (source <> 'renamed', source, model_id)) as source
from named
group by alias
order by alias;
