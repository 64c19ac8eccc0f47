-- Edges in GraphML, one line a row; of one component, or of all where none is set.
select
    '<edge source="' || source || '" target="' || target || '">' || graphml('relation', relation)
    || graphml('origin', origin) || graphml('rule', rule) || graphml('confidence', confidence)
    || graphml('coefficient', coefficient) || graphml('is_ambiguous', is_ambiguous) || '</edge>' || chr(10) as line
from graph_edges
where getvariable('component') is null or component_id = getvariable('component')
order by child_id, parent_id
