-- Share of models by their distance from the source, by modality, of the latest snapshot.
select modality, least(depth, 5) as depth, sum(share) as share, sum(n_models) as n_models
from trends.depth_by_modality
where snapshot = (select max(snapshot) from trends.depth_by_modality)
group by all
order by modality, depth
