-- Models as the map shows them, the most downloaded first: what is drawn first and found first. Texts that many models
-- share are numbers of a vocabulary, 0 where nothing is known.
create temp table map_latest as
select * from components.models where snapshot = (select max(snapshot) from components.models);
create temp table map_words as
select column_name, word, row_number() over (partition by column_name order by count(*) desc, word) as code
from (
    unpivot (select license, pipeline_tag, modality from map_latest) on license, pipeline_tag, modality
    into name column_name value word
)
group by column_name, word
qualify row_number() over (partition by column_name order by count(*) desc, word) <= 65000;
create temp table map_made as
select child_id, max_by(
    {'relation': relation, 'origin': origin, 'confidence': confidence},
    (coalesce(coefficient, 0.0), confidence, relation <> 'unknown', parent_id)
) as edge
from edges.charted
group by child_id;
create temp table map_models as
select
    row_number() over (order by m.downloads_30d desc nulls last, m.model_id) - 1 as number,
    m.model_id as id,
    p.x, p.y,
    least(coalesce(m.downloads_30d, 0), 2147483647) as downloads,
    coalesce(i.n_descendants, 0) as descendants,
    coalesce(date_diff('day', date '1970-01-01', m.created_at::date), -1) as created,
    coalesce(list_position(getvariable('relations'), e.edge.relation), 0) as relation,
    coalesce(list_position(getvariable('origins'), e.edge.origin), 0) as origin,
    coalesce(e.edge.confidence, 'nan'::double) as confidence,
    coalesce(l.code, 0) as license, coalesce(t.code, 0) as task, coalesce(o.code, 0) as modality,
    dense_rank() over (order by p.component_size desc, p.component_id) - 1 as component,
    p.component_size
from map_latest as m
join release.positions as p using (model_id)
left join map_made as e on e.child_id = m.model_id
left join components.impact as i on i.model_id = m.model_id and i.snapshot = m.snapshot
left join map_words as l on l.column_name = 'license' and l.word = m.license
left join map_words as t on t.column_name = 'pipeline_tag' and t.word = m.pipeline_tag
left join map_words as o on o.column_name = 'modality' and o.word = m.modality;
