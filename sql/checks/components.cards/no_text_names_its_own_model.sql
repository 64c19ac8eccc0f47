-- A model is not found as its own parent in the words or the recipe of its card.
select snapshot, model_id, statement.source as source, statement.quote as quote
from (select snapshot, model_id, unnest(statements) as statement from components.cards where len(statements) > 0)
where statement.source <> 'card_data' and lower(statement.declared_parent) = lower(model_id)
