"""The majority of a group with some votes left out: the asker's own, its family's, or all that are not earlier.

On arrays, and without counting anything for each pair of group and asker: a value that the asker's side did not vote
for keeps its votes, so that the group's first such value stands for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Majority:
    """The most frequent value among the votes that count, one entry for each who asks.

    Attributes:
        value: int64 [a], -1 where there are no votes.
        n_for: int64 [a], votes for it.
        n_votes: int64 [a], all votes that count.
    """

    value: np.ndarray
    n_for: np.ndarray
    n_votes: np.ndarray


def majority_without_own(
    group: np.ndarray, value: np.ndarray, *, asked_group: np.ndarray, own_value: np.ndarray
) -> Majority:
    """The majority of a group without the asker's own vote. Of equally frequent values the least code wins.

    Args:
        group: int [v], group of each vote, from 0.
        value: int [v], code of each vote's value, from 0.
        asked_group: int [a], the group that each asker turns to.
        own_value: int [a], what the asker itself votes for in that group; -1 where it has no vote there.
    """
    ranking = _ranked(group, value, asked_group)
    asked_group, own_value = asked_group.astype(np.int64), own_value.astype(np.int64)
    start, size = ranking.start[asked_group], ranking.start[asked_group + 1] - ranking.start[asked_group]
    first_value, first_count = ranking.at(start, size > 0)
    next_value, next_count = ranking.at(start + 1, size > 1)
    is_own = (first_value == own_value) & (size > 0)
    left = first_count - is_own
    # The second value has no more votes than the first; it wins when the own vote was all the difference.
    is_next = is_own & ((next_count > left) | ((next_count == left) & (next_value < first_value) & (left > 0)))
    n_for = np.where(is_next, next_count, left)
    n_votes = ranking.n_votes[asked_group] - ((own_value >= 0) & (size > 0))
    return _majority(n_for, np.where(is_next, next_value, first_value), n_votes)


def majority_without_family(
    group: np.ndarray,
    value: np.ndarray,
    family: np.ndarray,
    *,
    asked_group: np.ndarray,
    asking_family: np.ndarray,
) -> Majority:
    """The majority of a group without the votes of the asker's family. Of equally frequent values the least code wins.

    Args:
        group: int [v], group of each vote, from 0.
        value: int [v], code of each vote's value, from 0.
        family: int [v], family of each vote, from 0.
        asked_group: int [a], the group that each asker turns to.
        asking_family: int [a], the asker's family.
    """
    ranking = _ranked(group, value, asked_group)
    n_values, n_families = np.int64(_size(value)), np.int64(max(_size(family), _size(asking_family)))
    n_asks, asked_group = len(asked_group), asked_group.astype(np.int64)
    places, own_votes = np.unique((group * n_families + family) * n_values + value, return_counts=True)

    # Values that the family voted for, each counted without it.
    own_key = (asked_group * n_families + asking_family) * n_values
    first = np.searchsorted(places, own_key)
    n_own = np.searchsorted(places, own_key + n_values) - first
    asker = np.repeat(np.arange(n_asks), n_own)
    place = np.arange(len(asker)) - np.repeat(np.cumsum(n_own) - n_own, n_own) + np.repeat(first, n_own)
    own_value = places[place] % n_values
    left = ranking.votes_for(asked_group[asker], own_value) - own_votes[place]
    n_left_out = np.bincount(asker, weights=own_votes[place], minlength=n_asks).astype(np.int64)
    best = np.zeros(n_asks, dtype=np.int64)
    np.maximum.at(best, asker, left * n_values + (n_values - 1 - own_value))

    # The group's first value that it did not vote for.
    at, end = ranking.start[asked_group].copy(), ranking.start[asked_group + 1]
    waiting = np.flatnonzero(at < end)
    while len(waiting):
        key = own_key[waiting] + ranking.value[at[waiting]]
        is_own = np.append(places, -1)[np.searchsorted(places, key)] == key
        free = waiting[~is_own]
        score = ranking.count[at[free]] * n_values + (n_values - 1 - ranking.value[at[free]])
        best[free] = np.maximum(best[free], score)
        waiting = waiting[is_own]
        at[waiting] += 1
        waiting = waiting[at[waiting] < end[waiting]]
    return _majority(best // n_values, n_values - 1 - best % n_values, ranking.n_votes[asked_group] - n_left_out)


def majority_of_earlier(
    group: np.ndarray, value: np.ndarray, time: np.ndarray, *, asked_group: np.ndarray, asking_time: np.ndarray
) -> Majority:
    """The majority of a group among the votes that are earlier than the asker.

    Of equally frequent values the one wins that had that many votes first; of votes at one time the least code.

    Args:
        group: int [v], group of each vote, from 0.
        value: int [v], code of each vote's value, from 0.
        time: int [v], when the voter came to be; below 0 where that is unknown, and the vote does not count.
        asked_group: int [a], the group that each asker turns to.
        asking_time: int [a], when the asker came to be; below 0 where that is unknown, and nobody is earlier.
    """
    is_dated = time >= 0
    group, value, time = group[is_dated], value[is_dated], time[is_dated]
    if not len(group):
        nobody = np.zeros(len(asked_group), dtype=np.int64)
        return _majority(nobody, nobody, nobody)
    times = np.unique(time)
    n_times = np.int64(len(times) + 1)
    order = np.lexsort((value, time, group))
    group, value = group[order].astype(np.int64), value[order]
    moment = group * n_times + np.searchsorted(times, time[order])
    by_value = np.lexsort((np.arange(len(group)), value, group))
    starts = np.flatnonzero(_is_new(group[by_value], value[by_value]))
    count = np.empty(len(group), dtype=np.int64)
    count[by_value] = np.arange(len(group)) - np.repeat(starts, np.diff(np.append(starts, len(group)))) + 1
    # The running greatest count of each group: groups ascend, so that one pass serves all of them.
    peak = np.maximum.accumulate((np.cumsum(_is_new(group)) - 1) * np.int64(len(group) + 1) + count)
    leader = np.maximum.accumulate(np.where(_is_new(peak), np.arange(len(group)), 0))
    asked = asked_group * n_times
    begin = np.searchsorted(moment, asked)
    until = np.searchsorted(moment, asked + np.searchsorted(times, asking_time))
    n_votes = np.where(asking_time >= 0, until - begin, 0)
    winner = leader[np.where(n_votes > 0, until - 1, 0)]
    return _majority(np.where(n_votes > 0, count[winner], 0), value[winner], n_votes)


@dataclass(frozen=True)
class _Ranking:
    """The values of each group, the most frequent first, then by code.

    Attributes:
        value: int64 [d].
        count: int64 [d], votes for it.
        start: int64 [groups + 1], where each group begins.
        n_votes: int64 [groups], all votes of each.
    """

    value: np.ndarray
    count: np.ndarray
    start: np.ndarray
    n_votes: np.ndarray
    _pairs: np.ndarray
    _pair_counts: np.ndarray
    _n_values: np.int64

    def at(self, place: np.ndarray, is_there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and votes at some places; -1 and 0 where ``is_there`` is false."""
        place = np.where(is_there, place, len(self.value))
        return np.append(self.value, -1)[place], np.append(self.count, 0)[place]

    def votes_for(self, group: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Votes of groups for values that somebody in them voted for."""
        return self._pair_counts[np.searchsorted(self._pairs, group * self._n_values + value)]


def _ranked(group: np.ndarray, value: np.ndarray, asked_group: np.ndarray) -> _Ranking:
    n_values, n_groups = np.int64(_size(value)), max(_size(group), _size(asked_group))
    pairs, counts = np.unique(group * n_values + value, return_counts=True)
    groups, values = pairs // n_values, pairs % n_values
    order = np.lexsort((values, -counts, groups))
    start = np.concatenate(([0], np.cumsum(np.bincount(groups, minlength=n_groups))))
    n_votes = np.bincount(group, minlength=n_groups)
    return _Ranking(values[order], counts[order], start, n_votes, pairs, counts, n_values)


def _majority(n_for: np.ndarray, value: np.ndarray, n_votes: np.ndarray) -> Majority:
    return Majority(np.where(n_for > 0, value, -1), n_for, np.where(n_for > 0, n_votes, 0))


def _is_new(*columns: np.ndarray) -> np.ndarray:
    """Whether a row differs from the one before, bool [n]."""
    differs = np.zeros(len(columns[0]), dtype=bool)
    differs[:1] = True
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return differs


def _size(codes: np.ndarray) -> int:
    return int(codes.max(initial=0)) + 1
