-- The shortest way from a source is not longer than the longest, and counting paths never gives less than counting models.
select snapshot, model_id, shortest_depth, depth, sub_tree_downloads, path_counted_downloads
from components.impact
where shortest_depth > depth or path_counted_downloads < sub_tree_downloads
