-- Nodes in GEXF, one line a row; of one component, or of all where none is set.
select
    '<node id="' || id || '" label="' || id || '"><attvalues>' || gexf('license', license)
    || gexf('pipeline_tag', pipeline_tag) || gexf('model_type', model_type) || gexf('created_at', created_at)
    || gexf('downloads_30d', downloads_30d) || gexf('presence', presence) || gexf('component_id', component_id)
    || '</attvalues><viz:size value="' || round(size, 3) || '"/><viz:position x="' || x || '" y="' || y
    || '" z="0.0"/><viz:color r="' || r || '" g="' || g || '" b="' || b || '"/></node>' || chr(10) as line
from graph_nodes
join graph_colors using (made_by)
where getvariable('component') is null or component_id = getvariable('component')
order by model_id
