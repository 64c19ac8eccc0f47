-- What section 3 of the paper states in words, beside the same figures of the latest snapshot: how many of how many.
select statistic, round(value, 4) as here, round(paper_value, 4) as in_the_paper, n_cases, n_total, description
from trends.statistics
where snapshot = (select max(snapshot) from trends.statistics)
order by statistic;
