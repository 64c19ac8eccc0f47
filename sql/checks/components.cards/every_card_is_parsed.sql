-- Each card with a text has its row, and no other has one.
-- reads: raw.cards
select coalesce(r.snapshot, c.snapshot) as snapshot, r.model_id, c.model_id as parsed_model
from (select snapshot, model_id from raw.cards where card is not null) as r
full join components.cards as c on c.snapshot = r.snapshot and c.model_id = r.model_id
where r.model_id is null or c.model_id is null
