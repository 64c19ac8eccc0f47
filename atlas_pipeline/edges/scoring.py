"""How much of a known tree a charting method found.

A model counts as right when the set of its predicted parents is the set of its true ones: half a merge is not a parent
found. Edges are counted beside it by precision and recall. Every figure is read four times: over all models, where
documented parents were given to the method and are easy, and over the undocumented ones alone; strictly, and with twins
of a parent accepted in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from atlas_pipeline.edges.calibration import bin_name, brier_score, expected_calibration_error, reliability
from atlas_pipeline.edges.records import Edge

Subset = Literal["all", "undocumented"]
Matching = Literal["strict", "twins"]
Breakdown = Literal["all", "rule", "pattern", "relation", "parents", "confidence", "regions"]

SOURCE_PATTERN: Final = "source"
"""Pattern under which models without a true parent are scored."""

SEVERAL_PARENTS: Final = "several"
"""Value of the breakdown ``parents`` under which models with two true parents or more are scored."""

TWIN_RELATIONS: Final = frozenset({"duplicate", "quantized"})
TWIN_PATTERNS: Final = frozenset({"cast", "duplicate", "quantized"})
"""True edges between models that hold the same weights but for rounding."""


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
        matching: whether a twin of the true parent is right too.
        subset: whether models with documented parents count.
        breakdown: what the line is broken down by.
        breakdown_value: the rule, the pattern and so on; empty for all.
        n_models: models scored.
        n_edges: edges predicted for them.
        accuracy: share of these models whose parents are exactly right.
        precision: share of these predicted edges that are true.
        recall: share of the true edges of these models that were predicted.
        f1: harmonic mean of precision and recall.
        candidates_recall: share of the true edges of these models whose parent was predicted or listed as a candidate.
        mean_candidates: mean number of different models predicted or listed for one of these models.
        mean_confidence: mean confidence of the charted ones of these edges.
        brier_score: their mean squared difference of confidence and outcome.
        expected_calibration_error: mean gap between confidence and share right, over ten bins of equal width.
        adjusted_rand_index: how well weight clusters are the true regions, of their own breakdown alone.
    """

    method: str
    matching: Matching
    subset: Subset
    breakdown: Breakdown
    breakdown_value: str
    n_models: int
    n_edges: int
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    candidates_recall: float | None = None
    mean_candidates: float | None = None
    mean_confidence: float | None = None
    brier_score: float | None = None
    expected_calibration_error: float | None = None
    adjusted_rand_index: float | None = None


def score(
    edges: Sequence[Edge],
    truth: Iterable[TrueEdge],
    *,
    method: str,
    model_ids: Collection[str],
    documented: Collection[str] = (),
    twins: Mapping[str, str] | None = None,
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
    * ``relation``: the models with a true edge of that relation, all their edges.
    * parents ``several``: models with two true parents or more. Accuracy is that of their sets; precision is the share
      of models charted with several parents that have several, recall the share of these that were charted with
      several. ``n_edges`` counts the edges of models charted with several.
    * ``confidence``: charted edges of like confidence; precision is the share of them that are true.

    With the matching ``twins`` parents are compared as groups of twins (``twin_groups``).

    Args:
        edges: The predicted edges.
        truth: The known tree.
        method: Name of the method, copied to every line.
        model_ids: The models of the region.
        documented: Models whose parents were given to the method; left out of the subset ``undocumented``.
        twins: Groups of twins as ``twin_groups`` finds them; those of the known tree where not given.

    Returns:
        One line per matching, subset and breakdown, in a fixed order.
    """
    known = list(truth)
    members = set(model_ids)
    true_edges = [edge for edge in known if edge.child_id in members and edge.parent_id in members]
    lines = []
    matchings: tuple[tuple[Matching, Mapping[str, str]], ...] = (
        ("strict", {}),
        ("twins", twin_groups(known) if twins is None else twins),
    )
    subsets: tuple[tuple[Subset, set[str]], ...] = (("all", members), ("undocumented", members - set(documented)))
    for matching, groups in matchings:
        for subset, models in subsets:
            here = _Reading(
                [edge for edge in edges if edge.child_id in models],
                [edge for edge in true_edges if edge.child_id in models],
                models,
                groups,
            )
            about = {"method": method, "matching": matching, "subset": subset}
            lines += [_line(about, breakdown, value, counts) for breakdown, value, counts in here.lines()]
    return lines


def twin_groups(truth: Iterable[TrueEdge]) -> dict[str, str]:
    """Group models that hold the same weights but for rounding: duplicates, casts and quantisations of one model.

    Args:
        truth: The known tree.

    Returns:
        A name of its group for each model that has a twin.
    """
    return components(edge for edge in truth if edge.relation in TWIN_RELATIONS or edge.pattern in TWIN_PATTERNS)


def components(truth: Iterable[TrueEdge]) -> dict[str, str]:
    """Name the component of every model of a known tree.

    Args:
        truth: The known tree, or part of it.

    Returns:
        For each end of an edge the least id of its component.
    """
    component_of: dict[str, str] = {}

    def find(model_id: str) -> str:
        while (above := component_of.setdefault(model_id, model_id)) != model_id:
            component_of[model_id] = component_of[above]
            model_id = above
        return model_id

    for edge in truth:
        first, second = sorted((find(edge.child_id), find(edge.parent_id)))
        component_of[second] = first
    return {model_id: find(model_id) for model_id in list(component_of)}


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """What the shares of one line are made of: numerators and denominators, None where a share has no meaning."""

    n_models: int
    n_right_models: int
    n_edges: int
    n_right: int
    n_predicted: int
    n_found: int | None = None
    n_true: int | None = None
    n_listed: int | None = None
    n_candidates: int | None = None
    confidence: Sequence[float] = ()
    is_right: Sequence[bool] = ()


class _Reading:
    """Predicted and true edges of a subset of the models, ready to be counted.

    A parent stands for its group, so that twins are one; without groups every model is its own.
    """

    def __init__(
        self, edges: Sequence[Edge], true_edges: Sequence[TrueEdge], models: set[str], groups: Mapping[str, str]
    ) -> None:
        self.edges = list({(edge.child_id, edge.parent_id): edge for edge in edges}.values())
        self.true_edges = list({(edge.child_id, edge.parent_id): edge for edge in true_edges}.values())
        self.models = models
        self.groups = groups
        self.predicted = {self._key(edge) for edge in edges}
        self.true = {self._key(edge) for edge in true_edges}
        wrong = {child for child, _ in self.predicted ^ self.true}
        self.children = {child for child, _ in self.true}
        self.right_models = models - wrong
        self.named: dict[str, set[str]] = {}
        for edge in edges:
            self.named.setdefault(edge.child_id, set()).update((edge.parent_id, *(edge.evidence.candidates or ())))
        self.listed = {(child, groups.get(name, name)) for child, names in self.named.items() for name in names}

    def lines(self) -> list[tuple[Breakdown, str, _Counts]]:
        """All lines of this subset, in a fixed order."""
        rules = sorted({edge.rule for edge in self.edges})
        of_pattern: dict[str, set[str]] = {}
        of_relation: dict[str, set[str]] = {}
        for known in self.true_edges:
            of_pattern.setdefault(known.pattern, set()).add(known.child_id)
            of_relation.setdefault(known.relation, set()).add(known.child_id)
        of_pattern.pop(SOURCE_PATTERN, None)
        by_bin: dict[str, list[Edge]] = {}
        for edge in self.edges:
            if edge.origin == "charted":
                by_bin.setdefault(bin_name(edge.confidence), []).append(edge)
        return [
            ("all", "", self._of_children(self.children, self.edges)),
            *(("rule", rule, self._of_edges([e for e in self.edges if e.rule == rule])) for rule in rules),
            *(("pattern", name, self._of_kind(children)) for name, children in sorted(of_pattern.items())),
            ("pattern", SOURCE_PATTERN, self._of_sources()),
            *(("relation", name, self._of_kind(children)) for name, children in sorted(of_relation.items())),
            ("parents", SEVERAL_PARENTS, self._of_several()),
            *(("confidence", name, self._of_edges(made)) for name, made in sorted(by_bin.items())),
        ]

    def _key(self, edge: Edge | TrueEdge) -> tuple[str, str]:
        return edge.child_id, self.groups.get(edge.parent_id, edge.parent_id)

    def _of_kind(self, children: set[str]) -> _Counts:
        return self._of_children(children, [edge for edge in self.edges if edge.child_id in children])

    def _of_children(self, children: set[str], edges: Sequence[Edge]) -> _Counts:
        true_edges = [edge for edge in self.true_edges if edge.child_id in children]
        return replace(
            self._of_edges(edges),
            n_models=len(children),
            n_right_models=len(children & self.right_models),
            n_found=sum(self._key(edge) in self.predicted for edge in true_edges),
            n_true=len(true_edges),
            n_listed=sum(self._key(edge) in self.listed for edge in true_edges),
            n_candidates=sum(len(self.named.get(child, ())) for child in children),
        )

    def _of_edges(self, edges: Sequence[Edge]) -> _Counts:
        models = {edge.child_id for edge in edges}
        charted = [edge for edge in edges if edge.origin == "charted"]
        return _Counts(
            n_models=len(models),
            n_right_models=len(models & self.right_models),
            n_edges=len(edges),
            n_right=sum(self._key(edge) in self.true for edge in edges),
            n_predicted=len(edges),
            confidence=[edge.confidence for edge in charted],
            is_right=[self._key(edge) in self.true for edge in charted],
        )

    def _of_sources(self) -> _Counts:
        sources = self.models - self.children
        with_parent = {edge.child_id for edge in self.edges}
        n_left = len(sources - with_parent)
        return _Counts(
            n_models=len(sources),
            n_right_models=n_left,
            n_edges=sum(edge.child_id in sources for edge in self.edges),
            n_right=n_left,
            n_predicted=len(self.models - with_parent),
            n_found=n_left,
            n_true=len(sources),
        )

    def _of_several(self) -> _Counts:
        several, charted = _with_several(self.true_edges), _with_several(self.edges)
        return _Counts(
            n_models=len(several),
            n_right_models=len(several & self.right_models),
            n_edges=sum(edge.child_id in charted for edge in self.edges),
            n_right=len(several & charted),
            n_predicted=len(charted),
            n_found=len(several & charted),
            n_true=len(several),
        )


def _with_several(edges: Sequence[Edge] | Sequence[TrueEdge]) -> set[str]:
    """Children of several parents; every edge is given once."""
    return {child for child, n_parents in Counter(edge.child_id for edge in edges).items() if n_parents > 1}


def _line(about: Mapping[str, Any], breakdown: Breakdown, value: str, counts: _Counts) -> Score:
    precision, recall = _share(counts.n_right, counts.n_predicted), _share(counts.n_found, counts.n_true)
    f1 = None
    if counts.n_true is not None:
        both = (precision or 0.0) + (recall or 0.0)
        nothing = 0.0 if counts.n_predicted + counts.n_true else None
        f1 = 2 * precision * recall / both if precision and recall else nothing
    return Score(
        **about,
        breakdown=breakdown,
        breakdown_value=value,
        n_models=counts.n_models,
        n_edges=counts.n_edges,
        accuracy=_share(counts.n_right_models, counts.n_models),
        precision=precision,
        recall=recall,
        f1=f1,
        candidates_recall=_share(counts.n_listed, counts.n_true),
        mean_candidates=_share(counts.n_candidates, counts.n_models),
        mean_confidence=_share(sum(counts.confidence), len(counts.confidence)),
        brier_score=brier_score(counts.confidence, counts.is_right),
        expected_calibration_error=expected_calibration_error(reliability(counts.confidence, counts.is_right)),
    )


def _share(part: float | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None
