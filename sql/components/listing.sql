-- The last row of each model up to the snapshot. Reads raw.hub_stats up to the snapshot. Leaves the table listing.
create temp table listing as
with latest as (
    -- Of the id and the date alone: rows are wide, and there are millions of them.
    select id, max(snapshot) as snapshot
    from raw.hub_stats
    where not is_rejected and snapshot <= getvariable('snapshot')
    group by id
)
select
    id as model_id,
    snapshot,
    snapshot = getvariable('snapshot') as is_current,
    createdAt as created_at,
    -- The Hub's clock starts here: repositories of before carry one of two instants.
    createdAt is not null and createdAt between '2022-03-02 23:29:04+00' and '2022-03-02 23:29:05.999999+00'
        as created_at_is_floor
from raw.hub_stats join latest using (id, snapshot)
where not is_rejected;

select count(*) as n_models from listing;
