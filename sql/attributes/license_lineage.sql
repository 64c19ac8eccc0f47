-- One row for each model with an edge. Reads licensed and licenses (licensed_models.sql), lineage(position, inherited,
-- lost, n_unlicensed, lost_at_child, lost_at_parent), found(position, license_code) and terms_of(mask, terms).
with
gathered as (
    select
        position, list(license order by license) as licenses, bool_or(licenses.terms is null) as has_unknown
    from found join licenses using (license_code)
    group by position
)
select
    getvariable('snapshot') as snapshot,
    licensed.model_id,
    licensed.license,
    licensed.spdx_id,
    coalesce(gathered.licenses, []) as ancestor_licenses,
    lineage.n_unlicensed as n_unlicensed_ancestors,
    inherited.terms as inherited_terms,
    lost.terms as lost_terms,
    child.model_id as lost_at_child_id,
    parent.model_id as lost_at_parent_id,
    (licensed.license is not null and not licensed.has_rule) or coalesce(gathered.has_unknown, false)
        as has_unknown_license
from licensed
join lineage using (position)
join terms_of as inherited on inherited.mask = lineage.inherited
join terms_of as lost on lost.mask = lineage.lost
left join gathered using (position)
left join licensed as child on child.position = lineage.lost_at_child
left join licensed as parent on parent.position = lineage.lost_at_parent
order by licensed.model_id
