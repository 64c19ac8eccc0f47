-- Reported values in long form, and the two most frequent values of each hub, region and of the whole snapshot.
-- Reads components.models, parents, impact and regions. Two values suffice to leave a model's own vote out.
create or replace temp table labels as
with relations as (
    -- A model with parents of several relations has no single label.
    select child_id as model_id, any_value(relation) as relation
    from components.parents
    where is_kept and relation <> 'unknown'
    group by child_id
    having count(distinct relation) = 1
),
wide as (
    select
        model_id, hub_id, region_id, pipeline_tag, library_name, model_type, license, relations.relation
    from components.models
    join components.impact using (model_id)
    join components.regions using (model_id)
    left join relations using (model_id)
)
select model_id, hub_id, region_id, attribute, value
from wide unpivot include nulls (value for attribute in (pipeline_tag, library_name, model_type, license, relation));

-- Each label once for each group whose majority may predict it.
create or replace temp table memberships as
select 'hub_majority' as method, hub_id as group_id, * exclude (hub_id, region_id) from labels where hub_id is not null
union all
select 'region_majority', region_id, * exclude (hub_id, region_id) from labels
union all
select 'graph_majority', '', * exclude (hub_id, region_id) from labels;

create or replace temp table favourites as
with counted as (
    select method, group_id, attribute, value, count(*) as n_votes
    from memberships
    where value is not null
    group by all
)
select *, sum(n_votes) over (partition by method, group_id, attribute) as n_labelled
from counted
qualify row_number() over (partition by method, group_id, attribute order by n_votes desc, value) <= 2;

create or replace temp table predictions as
with votes as (
    select
        model_id, attribute, method, members.value as reported_value, favourites.value,
        n_votes - (members.value is not distinct from favourites.value)::bigint as n_for,
        n_labelled - (members.value is not null)::bigint as n_votes
    from memberships as members
    join favourites using (method, group_id, attribute)
)
select * from votes
where n_for > 0
qualify row_number() over (partition by model_id, attribute, method order by n_for desc, value) = 1;

select count(*) as n_predictions from predictions;
