-- The models that have an edge, numbered by id, with what their license asks for. Reads components.models,
-- components.parents and rules(license, spdx_id, terms). Leaves lineage_edges, licenses and licensed.
create temp table lineage_edges as
select child_id, parent_id from components.parents where is_kept;

create temp table licenses as
select reported.license, row_number() over (order by reported.license) - 1 as license_code, spdx_id, terms
from (select distinct license from components.models where license is not null) as reported
left join rules on rules.license = lower(reported.license);

create temp table licensed as
select
    row_number() over (order by model_id) - 1 as position,
    model_id, license, spdx_id,
    coalesce(license_code, -1) as license_code,
    coalesce(terms, 0) as terms,
    terms is not null as has_rule
from components.models left join licenses using (license)
where model_id in (select child_id from lineage_edges union all select parent_id from lineage_edges);

select * from licensed order by position;
