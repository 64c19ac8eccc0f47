-- The most common values of an attribute of models that hang together with others.
select word, count(*) as n_models
from (
    select if(getvariable('attribute') = 'license', license, pipeline_tag) as word from figure_models
)
where word is not null
group by word
order by n_models desc, word
limit getvariable('n_words')
