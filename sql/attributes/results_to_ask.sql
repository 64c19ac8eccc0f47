-- Cards that a language model is asked to read: they put a number beside a benchmark's name, and no other source has a
-- number of a benchmark for their model. Reads raw.cards, components.models and reported (results_reported.sql).
select cards.model_id, cards.card
from raw.cards as cards
semi join components.models as models using (model_id)
where regexp_matches(cards.card, getvariable('benchmark_and_number'), 'i')
    and cards.model_id not in (
        select model_id from reported
        where problem is null and reported_benchmark is not null and regexp_matches(reported_value, '[0-9]')
    )
order by cards.model_id
