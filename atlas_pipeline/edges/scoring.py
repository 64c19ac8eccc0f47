"""How much of a known tree a charting method found.

A model counts as right when the set of its predicted parents is the set of its true ones: half a merge is not a parent
found. Edges are counted beside it by precision and recall. Every figure is read twice: over all models, where
documented parents were given to the method and are easy, and over the undocumented ones alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from atlas_pipeline.edges.records import Edge

Subset = Literal["all", "undocumented"]
Breakdown = Literal["all", "rule", "pattern"]

SOURCE_PATTERN: Final = "source"
"""Pattern under which models without a true parent are scored."""


@dataclass(frozen=True, kw_only=True)
class TrueEdge:
    """One edge of a known tree.

    Attributes:
        child_id: the model that was made.
        parent_id: the model that it was made from.
        relation: how it was made.
        pattern: the structure that the child belongs to, such as fan, snake or merge.
    """

    child_id: str
    parent_id: str
    relation: str
    pattern: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """One line of ``edges.scores`` without its region; shares are None where there is nothing to divide by.

    Attributes:
        method: the charting method.
        subset: whether models with documented parents count.
        breakdown: what the line is broken down by.
        breakdown_value: the rule or the pattern; empty for all.
        n_models: models scored.
        n_edges: edges predicted for them.
        accuracy: share of these models whose parents are exactly right.
        precision: share of these predicted edges that are true.
        recall: share of the true edges of these models that were predicted.
        f1: harmonic mean of precision and recall.
    """

    method: str
    subset: Subset
    breakdown: Breakdown
    breakdown_value: str
    n_models: int
    n_edges: int
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None


def score(
    edges: Sequence[Edge],
    truth: Iterable[TrueEdge],
    *,
    method: str,
    model_ids: Collection[str],
    documented: Collection[str] = (),
) -> list[Score]:
    """Score the edges of a region against a known tree.

    Only models of the region count: a true edge from or to another model is left out, as the paper does with models
    that could not be downloaded, and a model all of whose parents lie elsewhere is a source of the region.

    * ``all``: accuracy over the models that are no source; precision and recall over all edges, those that were
      predicted for a source included.
    * ``rule``: precision over the edges of a rule; accuracy over the models that got one, true sources included (and
      wrong). Recall is None: true edges have no rule.
    * ``pattern``: the models with a true edge of that pattern, all their edges.
    * pattern ``source``: accuracy is the share of sources that got no parent, recall the same, and precision the share
      of models left without a parent that are sources. ``n_edges`` counts edges predicted for sources.

    Args:
        edges: The predicted edges.
        truth: The known tree.
        method: Name of the method, copied to every line.
        model_ids: The models of the region.
        documented: Models whose parents were given to the method; left out of the subset ``undocumented``.

    Returns:
        One line per subset and breakdown, in a fixed order.
    """
    members = set(model_ids)
    true_edges = [edge for edge in truth if edge.child_id in members and edge.parent_id in members]
    lines = []
    subsets: tuple[tuple[Subset, set[str]], ...] = (("all", members), ("undocumented", members - set(documented)))
    for subset, models in subsets:
        here = _Reading(
            [edge for edge in edges if edge.child_id in models],
            [edge for edge in true_edges if edge.child_id in models],
            models,
        )
        lines += [
            _score(method, subset, "all", "", here.overall()),
            *(_score(method, subset, "rule", rule, here.of_rule(rule)) for rule in here.rules()),
            *(_score(method, subset, "pattern", pattern, here.of_pattern(pattern)) for pattern in here.patterns()),
            _score(method, subset, "pattern", SOURCE_PATTERN, here.of_sources()),
        ]
    return lines


@dataclass(frozen=True)
class _Counts:
    """What the shares of one line are made of: numerators and denominators, None where a share has no meaning."""

    n_models: int
    n_edges: int
    n_right_models: int
    n_right: int
    n_predicted: int
    n_true: int | None


class _Reading:
    """Predicted and true edges of a subset of the models, ready to be counted."""

    def __init__(self, edges: Sequence[Edge], true_edges: Sequence[TrueEdge], models: set[str]) -> None:
        self.edges = edges
        self.true_edges = true_edges
        self.models = models
        self.predicted = {(edge.child_id, edge.parent_id) for edge in edges}
        self.true = {(edge.child_id, edge.parent_id) for edge in true_edges}
        wrong = {child for child, _ in self.predicted ^ self.true}
        self.children = {child for child, _ in self.true}
        self.right_models = models - wrong

    def rules(self) -> list[str]:
        return sorted({edge.rule for edge in self.edges})

    def patterns(self) -> list[str]:
        return sorted({edge.pattern for edge in self.true_edges} - {SOURCE_PATTERN})

    def overall(self) -> _Counts:
        return self._count(self.children, self.predicted, self.true)

    def of_rule(self, rule: str) -> _Counts:
        made = {(edge.child_id, edge.parent_id) for edge in self.edges if edge.rule == rule}
        return self._count({child for child, _ in made}, made, None)

    def of_pattern(self, pattern: str) -> _Counts:
        children = {edge.child_id for edge in self.true_edges if edge.pattern == pattern}
        predicted = {(child, parent) for child, parent in self.predicted if child in children}
        true = {(child, parent) for child, parent in self.true if child in children}
        return self._count(children, predicted, true)

    def of_sources(self) -> _Counts:
        sources = self.models - self.children
        with_parent = {child for child, _ in self.predicted}
        return _Counts(
            n_models=len(sources),
            n_edges=sum(child in sources for child, _ in self.predicted),
            n_right_models=len(sources - with_parent),
            n_right=len(sources - with_parent),
            n_predicted=len(self.models - with_parent),
            n_true=len(sources),
        )

    def _count(self, models: set[str], predicted: set[tuple[str, str]], true: set[tuple[str, str]] | None) -> _Counts:
        return _Counts(
            n_models=len(models),
            n_edges=len(predicted),
            n_right_models=len(models & self.right_models),
            n_right=len(predicted & self.true),
            n_predicted=len(predicted),
            n_true=None if true is None else len(true),
        )


def _score(method: str, subset: Subset, breakdown: Breakdown, value: str, counts: _Counts) -> Score:
    f1 = None
    if counts.n_true is not None:
        f1 = _share(2 * counts.n_right, counts.n_predicted + counts.n_true)
    return Score(
        method=method,
        subset=subset,
        breakdown=breakdown,
        breakdown_value=value,
        n_models=counts.n_models,
        n_edges=counts.n_edges,
        accuracy=_share(counts.n_right_models, counts.n_models),
        precision=_share(counts.n_right, counts.n_predicted),
        recall=None if counts.n_true is None else _share(counts.n_right, counts.n_true),
        f1=f1,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
