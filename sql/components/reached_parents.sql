-- Parents of the snapshot's models, and of those that kept edges lead to: when an edge is dropped, a model that is gone
-- may be nobody's parent any more, and what it once said of its own parents goes with it.
-- Reads listing (listing.sql) and mended, the parents with is_kept.
with recursive gone(model_id) as (
    select distinct mended.parent_id
    from mended
    join listing as child on child.model_id = mended.child_id and child.is_current
    join listing as parent on parent.model_id = mended.parent_id and not parent.is_current
    where mended.is_kept
    union
    select mended.parent_id
    from gone join mended on mended.child_id = gone.model_id
    where mended.is_kept
)
select mended.*
from mended join listing on listing.model_id = mended.child_id
where listing.is_current or mended.child_id in (select model_id from gone)
order by mended.child_id, mended.parent_id
