-- Edges between models of the map, by number; those of earlier pieces of models first.
create temp table map_saying as
select array_to_string(evidence.sources, ', ') as word, row_number() over (order by count(*) desc, 1) as code
from edges.charted
where len(evidence.sources) > 0
group by 1
qualify row_number() over (order by count(*) desc, 1) <= 65000;
create temp table map_edges as
select
    p.number as parent, c.number as child,
    greatest(p.number, c.number) // getvariable('piece_rows') as piece,
    list_position(getvariable('relations'), e.relation) as relation,
    list_position(getvariable('origins'), e.origin) as origin,
    list_position(getvariable('rules'), e.rule) as rule,
    e.confidence, e.is_ambiguous as ambiguous,
    coalesce(s.code, 0) as said,
    coalesce(e.coefficient, 'nan'::double) as coefficient,
    coalesce(e.evidence.relative_distance, 'nan'::double) as distance,
    coalesce(len(e.evidence.candidates), 0) as candidates
from edges.charted as e
join map_models as c on c.id = e.child_id
join map_models as p on p.id = e.parent_id
left join map_saying as s on s.word = array_to_string(e.evidence.sources, ', ');
