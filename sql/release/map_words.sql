-- Vocabularies of the map: what the numbers of models and edges stand for.
select column_name, list(word order by code) as words
from (
    select column_name, word, code from map_words
    union all
    select 'said', word, code from map_saying
)
group by column_name
order by column_name
