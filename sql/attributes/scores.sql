-- Accuracy of each method on the models that have a label and a labelled sibling. Reads predictions (labels.sql).
with
scored as (
    select model_id, attribute from predictions where method = 'hub_majority' and reported_value is not null
),
methods as (
    select attribute, method
    from (select distinct attribute from labels), (values ('graph_majority'), ('region_majority'), ('hub_majority')) as m(method)
)
select
    getvariable('snapshot') as snapshot,
    methods.attribute,
    methods.method,
    count(predictions.model_id) as n_models,
    count(predictions.model_id) filter (predictions.value = predictions.reported_value) as n_correct,
    case when count(predictions.model_id) > 0 then
        count(predictions.model_id) filter (predictions.value = predictions.reported_value) / count(predictions.model_id)
    end as accuracy
from methods
left join (predictions join scored using (model_id, attribute)) using (attribute, method)
group by methods.attribute, methods.method
order by methods.attribute, methods.method
