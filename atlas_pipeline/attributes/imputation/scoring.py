"""Scores imputation on what was left out: Tables 1a and 1b of the paper, under three protocols.

Under each protocol everything that is learned is learned under that protocol, from the labels of other folds.
"""

from __future__ import annotations

from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from atlas_pipeline.attributes.imputation import lineage_kernel, lineage_vote
from atlas_pipeline.attributes.imputation.evaluated import Evaluated, neighbourhoods, read_evaluated, with_same_models
from atlas_pipeline.attributes.imputation.imputing import nearest
from atlas_pipeline.attributes.imputation.labels import Evidence, Labels, evidences, proposals, read_labels, strata
from atlas_pipeline.attributes.imputation.lineage import Lineage, read_lineage
from atlas_pipeline.graph import Nearest
from atlas_pipeline.schema import contract_of
from atlas_pipeline.schema.attributes import ATTRIBUTES, PROTOCOLS

BASELINES: Final = {"graph_majority": "graph", "region_majority": "region", "hub_majority": "hub"}
"""Methods of Table 1b, and the kind of group whose majority each is."""

NEAREST: Final = (1, 2, 3, 5)
"""The paper's methods of Table 1a: the mean of so many nearest evaluated models."""

N_CONSIDERED: Final = 64
"""Nearest evaluated models among which those are looked for that a protocol lets count."""

MOST_CHILDREN: Final = 150_000
"""Of more children so many are drawn for scoring labels: the standard error of an accuracy is then below 0.002."""

N_BINS: Final = 10
"""Bins of confidence, of equal width."""


def scores(connection: duckdb.DuckDBPyConnection, snapshot: str, *, seed: int) -> pa.Table:
    """Rows of ``attributes.scores``.

    Labels are scored on models in whose set of sibling leaves somebody else has one, as in the paper; evaluations on
    models from which another evaluated one can be reached.

    Args:
        connection: with attributes.evaluations and components.models, parents, impact and regions of the snapshot.
        snapshot: YYYY-MM-DD.
        seed: of the folds, and of the order of equally near models.
    """
    lineage = read_lineage(connection, seed=seed, most_children=MOST_CHILDREN)
    labels = read_labels(connection, lineage)
    evidence = evidences(lineage, labels)
    rows = [
        row
        for attribute in ATTRIBUTES
        for protocol in PROTOCOLS
        for row in _label_scores(lineage, labels, evidence, attribute, protocol=protocol, seed=seed)
    ]
    if lineage.is_drawn:
        # Results are few, and the ways between them lead over all models.
        lineage = read_lineage(connection, seed=seed)
    rows += _evaluation_scores(lineage, read_evaluated(connection), seed=seed)
    return pa.Table.from_pylist(
        [{"snapshot": snapshot, **row} for row in rows], schema=contract_of("attributes.scores").arrow_schema
    )


def calibration_error(confidence: np.ndarray, is_right: np.ndarray) -> float | None:
    """Mean distance between confidence and accuracy, over ten bins of confidence (Naeini et al., 2015).

    Args:
        confidence: float64 [n], in [0, 1].
        is_right: bool [n].
    """
    if not len(confidence):
        return None
    place = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    off = np.bincount(place, weights=confidence - is_right, minlength=N_BINS)
    return float(np.abs(off).sum() / len(confidence))


def _label_scores(
    lineage: Lineage, labels: Labels, evidence: list[Evidence], attribute: str, *, protocol: str, seed: int
) -> list[dict[str, Any]]:
    """One row for each method of Table 1b."""
    reported, stratum = labels.codes[attribute], strata(labels, attribute)
    kinds = proposals(lineage, labels, evidence, attribute, protocol=protocol)
    learned = lineage_vote.learn(kinds, reported=reported, fold=lineage.fold, stratum=stratum, seed=seed)
    vote = lineage_vote.vote(kinds, learned, fold=lineage.fold, stratum=stratum)
    told = {"lineage_vote": vote.value}
    for method, name in BASELINES.items():
        kind = next(kind for kind in kinds if kind.name == name)
        told[method] = np.full(lineage.n_models, -1)
        told[method][kind.model] = kind.value
    models = np.flatnonzero((told["hub_majority"] >= 0) & (reported >= 0) & labels.can_have[attribute])
    rows = []
    for method in (*BASELINES, "lineage_vote"):
        is_right = told[method][models] == reported[models]
        is_ours = method == "lineage_vote"
        rows.append(
            {
                "attribute": attribute,
                "protocol": protocol,
                "method": method,
                "n_models": len(models),
                "n_correct": int(is_right.sum()),
                "accuracy": float(is_right.mean()) if len(models) else None,
                "calibration_error": calibration_error(vote.confidence[models], is_right) if is_ours else None,
            }
        )
    return rows


def _evaluation_scores(lineage: Lineage, benchmarks: list[Evaluated], *, seed: int) -> list[dict[str, Any]]:
    """Rows for each benchmark, protocol and method of Table 1a."""
    depth = lineage_kernel.depths(lineage)
    found: dict[int, Nearest] = {}
    for positions in with_same_models(benchmarks):
        first = benchmarks[positions[0]]
        found |= dict.fromkeys(positions, nearest(lineage, first, seed=seed, nodes=first.node, k=N_CONSIDERED))
    fold, values = [lineage.fold[each.node] for each in benchmarks], [each.value for each in benchmarks]
    rows = []
    for protocol in PROTOCOLS:
        near = [
            neighbourhoods(lineage, depth, each, nodes=each.node, nearest=found[i], protocol=protocol)[0]
            for i, each in enumerate(benchmarks)
        ]
        weights = lineage_kernel.learn(near, values, fold, seed=seed)
        for i, each in enumerate(benchmarks):
            told = {"mean": near[i].region_mean}
            for k in NEAREST:
                counts = near[i].is_there[:, :k]
                total = (near[i].value[:, :k] * counts).sum(axis=1)
                told[f"nearest_{k}"] = total / np.maximum(counts.sum(axis=1), 1)
            told["lineage_kernel"] = lineage_kernel.predict(near[i], weights[i, fold[i]])
            is_scored = near[i].is_there.any(axis=1)
            scale = 100.0 if each.unit == "share" else 1.0
            rows += [
                {"attribute": each.attribute, "protocol": protocol, "method": method}
                | _errors(result[is_scored] * scale, each.value[is_scored] * scale)
                for method, result in told.items()
            ]
    return rows


def _errors(told: np.ndarray, reported: np.ndarray) -> dict[str, Any]:
    """Errors of what was told; a correlation is null where either does not vary."""
    if not len(told):
        return {"n_models": 0}
    error = told - reported
    varies = len(told) > 1 and np.ptp(told) > 0 and np.ptp(reported) > 0
    return {
        "n_models": len(told),
        "mse": float((error**2).mean()),
        "mae": float(np.abs(error).mean()),
        "correlation": float(np.clip(np.corrcoef(told, reported)[0, 1], -1, 1)) if varies else None,
    }
