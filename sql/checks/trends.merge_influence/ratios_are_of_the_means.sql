-- The ratio is the mean of the merged models over that of their siblings, and null where there is no such mean or none.
select snapshot, modality, measure, mean_merged, mean_siblings, ratio
from trends.merge_influence
where ratio is distinct from mean_merged / nullif(mean_siblings, 0)
    or n_siblings = 0 and mean_siblings is not null
    or n_merged = 0 and mean_merged is not null
