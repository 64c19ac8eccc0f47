-- Nodes in GraphML, one line a row; of one component, or of all where none is set.
select
    '<node id="' || id || '">' || graphml('license', license) || graphml('pipeline_tag', pipeline_tag)
    || graphml('model_type', model_type) || graphml('created_at', created_at)
    || graphml('downloads_30d', downloads_30d) || graphml('presence', presence)
    || graphml('component_id', component_id) || graphml('x', x) || graphml('y', y) || '</node>' || chr(10) as line
from graph_nodes
where getvariable('component') is null or component_id = getvariable('component')
order by model_id
