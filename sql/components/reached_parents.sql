-- Parents of the snapshot's models, and of those that kept edges lead to: when a cycle is mended, a model that is gone
-- may be nobody's parent any more, and what it once said of its own parents goes with it.
-- Reads listing (declared_parents.sql) and mended, the parents with is_kept.
with recursive reached(model_id) as (
    select model_id from listing where is_current
    union
    select mended.parent_id
    from reached join mended on mended.child_id = reached.model_id
    where mended.is_kept
)
select * from mended where child_id in (select model_id from reached) order by child_id, parent_id
