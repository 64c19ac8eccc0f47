-- The sources of an edge are the sources of the claims that name it. Red: a source was lost or made up.
-- reads: components.claims
with claimed as (
    select snapshot, child_id, parent_id, list(distinct source order by source) as sources
    from components.claims group by all
)
select p.snapshot, p.child_id, p.parent_id, p.sources, claimed.sources as claimed_sources
from components.parents as p
left join claimed using (snapshot, child_id, parent_id)
where claimed.sources is distinct from p.sources
