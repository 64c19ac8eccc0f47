-- How many models and edges are new, gone or described otherwise.
with counted as (
    select 1 as place, 'models' as what, change, count(*) as n from release.model_changes group by change
    union all
    select 2, origin || ' edges', change, count(*) from release.edge_changes group by origin, change
)
select
    what, coalesce(sum(n) filter (change = 'new'), 0)::bigint as n_new,
    coalesce(sum(n) filter (change = 'gone'), 0)::bigint as n_gone,
    coalesce(sum(n) filter (change = 'changed'), 0)::bigint as n_changed
from counted
group by place, what
order by place, what;
