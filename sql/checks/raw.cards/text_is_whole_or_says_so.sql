-- A card has its whole text, or the first part of it and says so, or none and a problem.
select snapshot, model_id, n_bytes, is_truncated, problem
from raw.cards
where case
    when card is null then problem is null or is_truncated
    when is_truncated then strlen(card) >= n_bytes
    else strlen(card) <> n_bytes
end
