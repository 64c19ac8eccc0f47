-- Each finding has one verdict, and only what is decided has a confidence.
select child_id, parent_id, finding, verdict, confidence
from edges.audit
where verdict <> case
        when finding = 'parent_confirmed' then 'agrees'
        when finding in ('child_older_than_parent', 'not_comparable', 'ambiguous') then 'undecided'
        else 'contradicts'
    end
    or (verdict = 'undecided') <> (confidence is null)
