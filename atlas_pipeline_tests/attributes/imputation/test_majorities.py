"""Majorities with votes left out, against counting one asker at a time."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.attributes.imputation.majorities import (
    majority_of_earlier,
    majority_without_family,
    majority_without_own,
)

VOTE = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3), st.integers(-1, 4))
VOTES = st.lists(VOTE, max_size=25)


def columns(votes):
    return np.array(votes, dtype=np.int64).reshape(-1, 4).T


def counted(values):
    """Most frequent value, the least of those; its votes; all votes."""
    counts = Counter(values)
    if not counts:
        return -1, 0, 0
    best = min(counts, key=lambda value: (-counts[value], value))
    return best, counts[best], counts.total()


def as_tuples(majority):
    return list(zip(majority.value.tolist(), majority.n_for.tolist(), majority.n_votes.tolist(), strict=True))


@given(VOTES, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_a_family_is_left_out(votes, asks):
    group, value, family, _ = columns(votes)
    asked, asking = np.array(asks, dtype=np.int64).reshape(-1, 2).T
    found = majority_without_family(group, value, family, asked_group=asked, asking_family=asking)
    assert as_tuples(found) == [
        counted([v for g, v, f, _ in votes if g == asked_group and f != own]) for asked_group, own in asks
    ]


@given(VOTES)
def test_ones_own_vote_is_left_out(votes):
    group, value, _, _ = columns(votes)
    found = majority_without_own(group, value, asked_group=group, own_value=value)
    expected = [
        counted([v for j, (g, v, _, _) in enumerate(votes) if g == own[0] and j != i]) for i, own in enumerate(votes)
    ]
    assert as_tuples(found) == expected


@given(VOTES, st.integers(0, 5))
def test_who_has_no_vote_hears_all(votes, asked):
    group, value, _, _ = columns(votes)
    found = majority_without_own(group, value, asked_group=np.array([asked]), own_value=np.array([-1]))
    assert as_tuples(found) == [counted([v for g, v, _, _ in votes if g == asked])]


@given(VOTES, st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 6)), max_size=12))
def test_only_earlier_ones_vote(votes, asks):
    group, value, _, time = columns(votes)
    asked, asking = np.array(asks, dtype=np.int64).reshape(-1, 2).T
    found = majority_of_earlier(group, value, time, asked_group=asked, asking_time=asking)
    for (asked_group, now), (best, n_for, n_votes) in zip(asks, as_tuples(found), strict=True):
        heard = [(t, v) for g, v, _, t in votes if g == asked_group and 0 <= t < now]
        counts = Counter(v for _, v in heard)
        assert (n_for, n_votes) == (max(counts.values(), default=0), len(heard))
        assert counts[best] == n_for if heard else best == -1


def test_of_as_many_earlier_votes_the_first_to_have_them_wins():
    group, value, time = np.zeros(4, dtype=np.int64), np.array([2, 1, 1, 2]), np.array([1, 2, 3, 4])
    asking = np.array([2, 3, 4, 9])
    found = majority_of_earlier(group, value, time, asked_group=np.zeros(4, dtype=np.int64), asking_time=asking)
    assert found.value.tolist() == [2, 2, 1, 1]
