-- Edges in GEXF, one line a row; of one component, or of all where none is set.
select
    '<edge id="' || (row_number() over (order by child_id, parent_id) - 1) || '" source="' || source || '" target="'
    || target || '" weight="' || confidence || '"><attvalues>' || gexf('relation', relation) || gexf('origin', origin)
    || gexf('rule', rule) || gexf('confidence', confidence) || gexf('coefficient', coefficient)
    || gexf('is_ambiguous', is_ambiguous) || '</attvalues></edge>' || chr(10) as line
from graph_edges
where getvariable('component') is null or component_id = getvariable('component')
order by child_id, parent_id
