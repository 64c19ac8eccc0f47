-- Rows of the source that could not be used at all: no id, an id that is none, an id that stands twice. They stay in
-- the table with their problem; nothing else is lost by them.
-- severity: warning
select snapshot, row_number, left(id, 100) as id, problem from raw.hub_stats where is_rejected
