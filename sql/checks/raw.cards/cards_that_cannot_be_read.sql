-- Cards that stay without text: an id that is none, bytes that are no UTF-8, a file that cannot be opened; and ids that
-- stand more than once, of which the first is kept.
-- severity: warning
select snapshot, model_id, problem from raw.cards where problem is not null
