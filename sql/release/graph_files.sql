-- What the graph files hold: models of the latest snapshot that hang together with others, and their edges, as text
-- that may stand between quotes in XML. Characters that XML does not allow become U+FFFD.
create macro xml(given) as replace(replace(replace(replace(replace(replace(replace(
    regexp_replace(
        given, '[^\x{9}\x{A}\x{D}\x{20}-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]', chr(65533), 'g'
    ),
    '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), chr(9), '&#9;'), chr(10), '&#10;'), chr(13), '&#13;');
-- An attribute of a node or an edge; nothing where it is not known.
create macro gexf(name, given) as
    coalesce('<attvalue for="' || name || '" value="' || xml(given::varchar) || '"/>', '');
create macro graphml(name, given) as
    coalesce('<data key="' || name || '">' || xml(given::varchar) || '</data>', '');
create temp table graph_edges as
select
    xml(e.parent_id) as source, xml(e.child_id) as target, e.child_id, e.parent_id, e.relation, e.origin, e.rule,
    e.confidence, e.coefficient, e.is_ambiguous, c.component_id
from edges.charted as e
join release.positions as c on c.model_id = e.child_id
join release.positions as p on p.model_id = e.parent_id;
create temp table graph_nodes as
select
    xml(p.model_id) as id, p.model_id, p.x, p.y, p.component_id, m.license, m.pipeline_tag, m.model_type,
    strftime(m.created_at, '%Y-%m-%dT%H:%M:%SZ') as created_at, m.downloads_30d, m.presence,
    0.5 + least(log10(1 + coalesce(m.downloads_30d, 0)), 10) / 5 as size, coalesce(made.relation, 'source') as made_by
from release.positions as p
join components.models as m on m.model_id = p.model_id
left join (
    select child_id, min_by(relation, parent_id) as relation from graph_edges group by child_id
) as made on made.child_id = p.model_id
where p.component_size > 1 and m.snapshot = (select max(snapshot) from components.models);
create temp table graph_colors as
select * from (values
    ('source', 0, 0, 0), ('finetune', 0, 114, 178), ('adapter', 230, 159, 0), ('quantized', 0, 158, 115),
    ('merge', 204, 121, 167), ('duplicate', 86, 180, 233), ('unknown', 213, 94, 0)
) as colors(made_by, r, g, b)
