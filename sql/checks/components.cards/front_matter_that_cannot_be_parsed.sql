-- Cards whose front matter is broken or not safe to read. Their text is read all the same.
-- severity: warning
select snapshot, model_id, problem from components.cards where problem is not null
