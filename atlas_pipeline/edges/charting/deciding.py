"""Who is the parent, where nothing proves it: rounds of believing a tree and asking what it explains.

Each round measures, against the tree believed so far, whether every model inherits what its candidates had learnt, and
then which candidate is the parent: the one whose learning it holds, and of whose children's it holds none. Two small
ensembles of trees, grown on trained networks with known lineage, weigh the figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from atlas_pipeline.edges.candidates import NOBODY
from atlas_pipeline.edges.charting.boosting import BoostedTrees, read_trees
from atlas_pipeline.edges.charting.forest import Forest, acyclic
from atlas_pipeline.edges.charting.geometry import Blocks, batches, local_products
from atlas_pipeline.edges.charting.inheritance import FEATURES, TINY, inheritance
from atlas_pipeline.edges.charting.neighborhoods import N_CANDIDATES, N_MEMBERS, Neighborhoods, neighborhoods

Floats = NDArray[np.float64]

N_ROUNDS: Final = 2
"""Rounds from a tree of nearest models; more confirm what is believed already, right or wrong."""

CIRCUMSTANCES: Final = (
    "log_distance_ratio",
    "rank",
    "log_days_apart",
    "log_days_to_reference",
    "n_children",
    "n_siblings",
    "depth",
    "is_nearest",
    "is_above_nearest",
    "log_reference_distance_ratio",
    "near_children_share",
    "age_rank",
    "is_quantized",
    "child_precision",
    "candidate_precision",
    "is_root",
)
"""Names of what is known of a candidate besides inheritance."""

VERDICTS: Final = ("inherits", "inherits_from_child", "inherits_from_other", "n_below")
"""Names of what the first ensemble says of a candidate and of the others."""

MEASURES: Final = (*FEATURES, *CIRCUMSTANCES)

MODELS: Final = Path(__file__).parent / "trees.csv"
CALIBRATION: Final = Path(__file__).parent / "calibration.csv"


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What does not change from round to round.

    Attributes:
        vectors: float32 [n, d].
        chosen: columns compared.
        near: int64 [n, a], nearest models of any time, nearest first.
        earlier: int64 [n, b], nearest earlier ones.
        position: int64 [n], place in the order of creation.
        days: float64 [n], date in days; NaN where no span can be measured from it.
        is_quantized: bool [n].
        precision: int8 [n], as ``proofs.precisions`` gives it.
    """

    vectors: NDArray[np.float32]
    chosen: Blocks
    near: NDArray[np.int64]
    earlier: NDArray[np.int64]
    position: NDArray[np.int64]
    days: Floats
    is_quantized: NDArray[np.bool_]
    precision: NDArray[np.int8]

    @cached_property
    def n_models(self) -> int:
        """Number of models."""
        return len(self.near)


@dataclass(frozen=True, eq=False)
class Measured:
    """One round's measurements of some children.

    Attributes:
        children: int64 [b], their rows.
        around: their neighbourhoods.
        measures: float64 [b, k, len(MEASURES)].
    """

    children: NDArray[np.int64]
    around: Neighborhoods
    measures: Floats


@dataclass(frozen=True, eq=False)
class Decision:
    """What is believed of the open models.

    Attributes:
        forest: one parent a model.
        candidate: int64 [n, k], candidates of each open model; ``NOBODY`` behind the last and for others.
        probability: float64 [n, k], how likely each is the parent, adding up to at most one.
        measures: float64 [n, k, len(MEASURES)], on what that rests.
    """

    forest: Forest
    candidate: NDArray[np.int64]
    probability: Floats
    measures: Floats


def measure(
    evidence: Evidence, forest: Forest, children: NDArray[np.int64], *, first: Forest | None = None
) -> Measured:
    """Measure the candidates of some children against a believed tree; `first` is the tree of the first round."""
    around = neighborhoods(
        forest, evidence.near[children], evidence.earlier[children], evidence.position, children, first=first or forest
    )
    measures = np.full((*around.candidate.shape, len(MEASURES)), np.nan)
    for part in batches(len(children), N_MEMBERS, evidence.chosen.n_neurons):
        here, own = around.of(part), children[part]
        products = local_products(evidence.vectors, evidence.chosen, own, here.members)
        measures[part, :, : len(FEATURES)] = inheritance(products, here, own, forest, evidence.position)
        squared = np.einsum("brmm->bm", products).astype(np.float64)
        measures[part, :, len(FEATURES) :] = _circumstances(evidence, forest, own, here, squared)
    return Measured(children, around, measures)


def _circumstances(
    evidence: Evidence, forest: Forest, children: NDArray[np.int64], around: Neighborhoods, squared: Floats
) -> Floats:
    rows = np.arange(len(children))[:, None]
    q, g = around.candidate, around.reference
    missing = q < 0
    distance = np.where(missing, np.inf, squared[rows, around.candidate_at])
    least = distance.min(axis=1, keepdims=True) + TINY
    rank = np.argsort(np.argsort(distance, axis=1, kind="stable"), axis=1, kind="stable")
    nearest = np.argmin(distance, axis=1)[:, None]
    to_reference = np.where(g < 0, np.nan, squared[rows, around.reference_at])
    near_parents = forest.parent[np.maximum(evidence.near[children], 0)]
    counted = (evidence.near[children] >= 0)[:, None, :] & (near_parents[:, None, :] == q[:, :, None])
    age = np.where(missing, np.iinfo(np.int64).max, evidence.position[q])
    days = evidence.days
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = [
            np.log(np.where(missing, np.nan, distance) / least + TINY),
            rank,
            _log_days(days[children][:, None] - days[q]),
            np.where(g < 0, np.nan, _log_days(days[q] - days[g])),
            forest.n_children[q],
            np.where(g < 0, np.nan, forest.n_children[g]),
            forest.depth[q],
            np.arange(q.shape[1])[None, :] == nearest,
            q == np.take_along_axis(g, nearest, axis=1),
            np.log(to_reference / least + TINY),
            counted.sum(axis=2) / np.maximum((evidence.near[children] >= 0).sum(axis=1), 1)[:, None],
            np.argsort(np.argsort(age, axis=1, kind="stable"), axis=1, kind="stable"),
            evidence.is_quantized[q],
            np.broadcast_to(evidence.precision[children][:, None], q.shape),
            evidence.precision[q],
            g < 0,
        ]
    stacked = np.stack([np.asarray(figure, dtype=np.float64) for figure in figures], axis=-1)
    stacked[missing] = np.nan
    return stacked


def _log_days(days: Floats) -> Floats:
    return np.log10(np.clip(days, 1e-4, None))


def verdicts(measured: Measured, inherits: Floats) -> Floats:
    """Set what is said of a candidate beside what is said of the others, float64 [b, k, len(VERDICTS)].

    Args:
        measured: the candidates.
        inherits: float64 [b, k], how likely each is an ancestor; NaN where there is none.
    """
    candidate, reference = measured.around.candidate, measured.around.reference
    k = candidate.shape[1]
    is_child = (reference[:, None, :] == candidate[:, :, None]) & (candidate[:, None, :] >= 0)
    is_other = (candidate[:, None, :] >= 0) & ~np.eye(k, dtype=bool)[None]
    other = np.broadcast_to(inherits[:, None, :], is_child.shape)
    return np.stack(
        [
            inherits,
            np.where(is_child, other, -1.0).max(axis=2),
            np.where(is_other, other, -1.0).max(axis=2),
            is_child.sum(axis=2),
        ],
        axis=-1,
    )


def judge(measured: Measured, ancestry: BoostedTrees, parentage: BoostedTrees) -> Floats:
    """How likely each candidate is the parent, float64 [b, k], before the candidates are weighed against each other."""
    exists = measured.around.candidate >= 0
    inherits = np.full(exists.shape, np.nan)
    inherits[exists] = ancestry.probability(measured.measures[exists])
    # Everybody inherits from a root.
    inherits[exists & (measured.around.reference < 0)] = 1.0
    both = np.concatenate([measured.measures, verdicts(measured, inherits)], axis=2)
    likely = np.zeros(exists.shape)
    likely[exists] = parentage.probability(both[exists])
    return likely


def decide(
    evidence: Evidence,
    parent: NDArray[np.int64],
    open_rows: NDArray[np.int64],
    *,
    before: Forest | None = None,
    learnt: dict[str, BoostedTrees] | None = None,
) -> Decision:
    """Find the parents of the open models.

    Args:
        evidence: what is known of all models.
        parent: int64 [n], what is believed to begin with; parents of models that are not open stay.
        open_rows: int64 [b], models whose parents are sought.
        before: the tree that earlier rounds came to, after which one more is enough; None to begin.
        learnt: the ensembles; those of the package by default.
    """
    models = learnt or learnt_trees()
    forest = first = Forest(parent)
    n = evidence.n_models
    settled = parent.copy()
    settled[open_rows] = NOBODY
    made = Forest(settled)
    candidate = np.full((n, N_CANDIDATES), NOBODY, dtype=np.int64)
    probability = np.zeros((n, N_CANDIDATES))
    measures = np.full((n, N_CANDIDATES, len(MEASURES)), np.nan)
    states = ["later"] if before is not None else ["first", *["later"] * (N_ROUNDS - 1)]
    for state in states if len(open_rows) else []:
        measured = measure(evidence, forest, open_rows, first=first)
        likely = judge(measured, models[f"ancestry_{state}"], models[f"parentage_{state}"])
        # What was made from a model is not its parent, whatever the dates say.
        likely[made.descends(measured.around.candidate, open_rows[:, None])] = 0.0
        best = np.argmax(likely, axis=1)[:, None]
        chosen = np.where(likely > 0, measured.around.candidate, NOBODY)
        believed = forest.parent.copy()
        believed[open_rows] = np.take_along_axis(chosen, best, axis=1)[:, 0]
        believed = acyclic(believed, evidence.position)
        is_settled = bool((believed == forest.parent).all())
        forest = replace(forest, parent=believed)
        candidate[open_rows], probability[open_rows] = measured.around.candidate, likely
        measures[open_rows] = measured.measures
        if is_settled:
            break
    return Decision(forest, candidate, probability, measures)


@cache
def learnt_trees() -> dict[str, BoostedTrees]:
    """The ensembles of the package."""
    return read_trees(MODELS)


@cache
def _calibration() -> tuple[Floats, Floats]:
    table = pacsv.read_csv(CALIBRATION)
    return table["score"].to_numpy(), table["confidence"].to_numpy()


def calibrated(score: Floats) -> Floats:
    """Turn the winner's share of likelihood into how often such winners are right."""
    return np.interp(score, *_calibration())
