"""Whom a model is compared with."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.edges.candidates import NOBODY
from atlas_pipeline.edges.charting.forest import Forest
from atlas_pipeline.edges.charting.neighborhoods import (
    N_CANDIDATES,
    N_EARLIER,
    N_MEMBERS,
    N_NEAR,
    distinct,
    neighborhoods,
)


def first_occurrences(row, width):
    kept = list(dict.fromkeys(value for value in row if value >= 0))[:width]
    return kept + [NOBODY] * (width - len(kept))


@given(
    rows=st.integers(1, 9).flatmap(
        lambda width: st.lists(st.lists(st.integers(-1, 6), min_size=width, max_size=width), max_size=6).map(
            lambda rows: np.array(rows, dtype=np.int64).reshape(-1, width)
        )
    ),
    width=st.integers(1, 12),
)
def test_distinct_is_a_loop_that_keeps_what_it_has_not_seen(rows, width):
    found = distinct(rows, width)
    assert found.shape == (len(rows), width)
    assert found.tolist() == [first_occurrences(row, width) for row in rows.tolist()]


def listed(order, n, width):
    """The first models of a row's order, as the lists of nearest models have them."""
    return np.array([(row + [NOBODY] * width)[:width] for row in order], dtype=np.int64).reshape(n, width)


@given(n=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_neighbourhoods_hold_candidates_and_their_parents_at_the_places_they_say(n, seed):
    generator = np.random.default_rng(seed)
    place = generator.permutation(n)
    by_age = np.argsort(place)
    parent = np.full(n, NOBODY, dtype=np.int64)
    first_parent = parent.copy()
    for later in range(1, n):
        parent[by_age[later]] = by_age[generator.integers(later)] if generator.random() < 0.9 else NOBODY
        first_parent[by_age[later]] = by_age[generator.integers(later)]
    order = [[int(other) for other in generator.permutation(n) if other != row] for row in range(n)]
    near = listed(order, n, N_NEAR)
    earlier = listed(
        [[other for other in row if place[other] < place[own]] for own, row in enumerate(order)], n, N_EARLIER
    )
    children = np.arange(n)
    around = neighborhoods(Forest(parent), near, earlier, place, children, first=Forest(first_parent))
    assert around.members.shape == (n, N_MEMBERS)
    assert around.candidate.shape == around.reference_at.shape == (n, N_CANDIDATES)
    for child in range(n):
        members = around.members[child]
        known = members[members >= 0].tolist()
        assert len(set(known)) == len(known)
        assert known[: (near[child] >= 0).sum()] == near[child][near[child] >= 0].tolist()
        candidates = around.candidate[child][around.candidate[child] >= 0]
        # The nearest earlier models come first, and their lineages, of both trees, are asked.
        own_earlier = earlier[child][earlier[child] >= 0]
        assert candidates[: len(own_earlier)].tolist() == own_earlier.tolist()
        assert (place[candidates] < place[child]).all()
        assert len(set(candidates.tolist())) == len(candidates)
        if len(own_earlier) and parent[own_earlier[0]] >= 0:
            assert parent[own_earlier[0]] in candidates
        for rank, candidate in enumerate(candidates.tolist()):
            assert members[around.candidate_at[child, rank]] == candidate
            reference = around.reference[child, rank]
            assert reference in (NOBODY, parent[candidate])
            if reference >= 0:
                assert members[around.reference_at[child, rank]] == reference
            elif parent[candidate] >= 0:
                # A parent is passed over only where there is no room for it.
                assert (members >= 0).all()
        beyond = around.candidate[child] < 0
        assert (around.reference[child][beyond] == NOBODY).all()
    part = np.array([n - 1, 0])
    assert (around.of(part).candidate == around.candidate[part]).all()


def test_no_children_have_no_neighbourhoods():
    forest = Forest(np.array([NOBODY, 0]))
    none = np.zeros((0, N_NEAR), dtype=np.int64)
    around = neighborhoods(forest, none, none[:, :N_EARLIER], np.arange(2), np.zeros(0, dtype=np.int64), first=forest)
    assert around.candidate.shape == (0, N_CANDIDATES)
