"""Fills attributes and evaluation results in from the lineage (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from atlas_pipeline.attributes.imputation import lineage_kernel, lineage_vote
from atlas_pipeline.attributes.imputation.evaluated import (
    N_NEIGHBORS,
    Evaluated,
    neighbourhoods,
    read_evaluated,
    with_same_models,
)
from atlas_pipeline.attributes.imputation.labels import evidences, proposals, read_labels, strata
from atlas_pipeline.attributes.imputation.lineage import Lineage, read_lineage
from atlas_pipeline.attributes.imputation.lineage_kernel import Neighbourhood
from atlas_pipeline.graph import Nearest, nearest_labelled
from atlas_pipeline.schema import contract_of
from atlas_pipeline.schema.attributes import ATTRIBUTES

FARTHEST: Final = 3
"""Edges to the nearest evaluated model beyond which no result is imputed: too few are held out there to measure it."""

CHUNK: Final = 100_000
"""Models whose results are imputed at once, so that memory does not grow with their number."""

VOTE_EDGES: Final = np.array([2, 5, N_NEIGHBORS])
"""Numbers of neighbours that are told apart when errors are measured."""

PRIOR_CASES: Final = 10.0
"""A cell of measured errors counts as if it had so many cases of the coarser one."""


def imputed(connection: duckdb.DuckDBPyConnection, snapshot: str, *, seed: int) -> pa.Table:
    """Rows of ``attributes.imputed``: one for each model with an edge and attribute that some group tells.

    A relation is told only of models that have a parent, and not of those with parents of several relations.

    Args:
        connection: with components.models, parents, impact and regions of the snapshot.
        snapshot: YYYY-MM-DD.
        seed: of the folds.
    """
    lineage = read_lineage(connection, seed=seed)
    labels = read_labels(connection, lineage)
    evidence = evidences(lineage, labels)
    tables = []
    for attribute in ATTRIBUTES:
        codes, values = labels.codes[attribute], labels.values[attribute]
        stratum = strata(labels, attribute)
        kinds = proposals(lineage, labels, evidence, attribute, protocol="leave_one_out")
        learned = lineage_vote.learn(kinds, reported=codes, fold=lineage.fold, stratum=stratum, seed=seed)
        vote = lineage_vote.vote(kinds, learned, fold=lineage.fold, stratum=stratum)
        told = np.flatnonzero((vote.value >= 0) & labels.can_have[attribute])
        n = len(told)
        columns = {
            "snapshot": pa.repeat(snapshot, n),
            "model_id": lineage.model_ids.take(pa.array(told)),
            "attribute": pa.repeat(attribute, n),
            "value": values.take(pa.array(vote.value[told])),
            "method": pa.repeat("lineage_vote", n),
            "decided_by": pa.array([kind.name for kind in kinds]).take(pa.array(vote.evidence[told])),
            "n_votes": pa.array(vote.n_votes[told]),
            "confidence": pa.array(vote.confidence[told]),
            "reported_value": values.take(pa.array(codes[told], mask=codes[told] < 0)),
        }
        tables.append(_conforming("attributes.imputed", columns))
    return pa.concat_tables(tables)


def imputed_evaluations(connection: duckdb.DuckDBPyConnection, snapshot: str, *, seed: int) -> pa.Table:
    """Rows of ``attributes.imputed_evaluations``: models within ``FARTHEST`` edges of an evaluated one.

    Args:
        connection: with attributes.evaluations and components.models, parents and regions of the snapshot.
        snapshot: YYYY-MM-DD.
        seed: of the folds, and of the order of equally near models.
    """
    lineage = read_lineage(connection, seed=seed)
    benchmarks = read_evaluated(connection)
    depth = lineage_kernel.depths(lineage)
    near: dict[int, Neighbourhood] = {}
    kept: dict[int, Nearest] = {}
    for positions in with_same_models(benchmarks):
        nodes = benchmarks[positions[0]].node
        found = nearest(lineage, benchmarks[positions[0]], seed=seed, nodes=nodes)
        for i in positions:
            near[i], kept[i] = neighbourhoods(lineage, depth, benchmarks[i], nodes=nodes, nearest=found)
    order = range(len(benchmarks))
    fold = [lineage.fold[each.node] for each in benchmarks]
    weights = lineage_kernel.learn([near[i] for i in order], [each.value for each in benchmarks], fold, seed=seed)
    tables = [_conforming("attributes.imputed_evaluations", {})]
    # Neighbours are looked up again rather than kept for all benchmarks at once: they are most of the memory.
    for positions in with_same_models(benchmarks):
        found = nearest(lineage, benchmarks[positions[0]], seed=seed, nodes=np.arange(lineage.n_models))
        rows = np.flatnonzero((found.distance[:, 0] > 0) & (found.distance[:, 0] <= FARTHEST))
        for i in positions:
            each = benchmarks[i]
            told = lineage_kernel.predict(near[i], weights[i, fold[i]])
            errors = _expected_errors(kept[i], np.abs(told - each.value))
            for start in range(0, len(rows), CHUNK):
                nodes = rows[start : start + CHUNK]
                around = Nearest(found.source[nodes], found.distance[nodes])
                told_from = neighbourhoods(lineage, depth, each, nodes=nodes, nearest=around)
                tables.append(
                    _evaluation_rows(
                        lineage, each, *told_from, nodes=nodes, weights=weights[i], errors=errors, snapshot=snapshot
                    )
                )
    return pa.concat_tables(tables)


def nearest(lineage: Lineage, evaluated: Evaluated, *, seed: int, nodes: np.ndarray, k: int = N_NEIGHBORS) -> Nearest:
    """The evaluated models nearest to some models, themselves excluded.

    Args:
        lineage: the models.
        evaluated: the results.
        seed: of the order of equally near ones.
        nodes: int64 [r].
        k: how many.
    """
    is_evaluated = np.zeros(lineage.n_models, dtype=bool)
    is_evaluated[evaluated.node] = True
    return nearest_labelled(lineage.graph, is_evaluated, k=k, seed=seed, nodes=nodes)


def _evaluation_rows(
    lineage: Lineage,
    evaluated: Evaluated,
    near: Neighbourhood,
    kept: Nearest,
    *,
    nodes: np.ndarray,
    weights: np.ndarray,
    errors: np.ndarray,
    snapshot: str,
) -> pa.Table:
    """Rows of some models for one benchmark."""
    reported = np.full(lineage.n_models, np.nan)
    reported[evaluated.node] = evaluated.value
    n = len(nodes)
    columns = {
        "snapshot": pa.repeat(snapshot, n),
        "model_id": lineage.model_ids.take(pa.array(nodes)),
        "benchmark": pa.repeat(evaluated.benchmark, n),
        "metric": pa.repeat(evaluated.metric, n),
        "value": pa.array(lineage_kernel.predict(near, weights[lineage.fold[nodes]])),
        "unit": pa.repeat(evaluated.unit, n),
        "method": pa.repeat("lineage_kernel", n),
        "n_votes": pa.array(near.is_there.sum(axis=1)),
        "nearest": pa.array(kept.distance[:, 0]),
        "expected_error": pa.array(errors[_distance_cells(kept), _vote_cells(kept)]),
        "reported_value": pa.array(reported[nodes], mask=np.isnan(reported[nodes])),
    }
    return _conforming("attributes.imputed_evaluations", columns)


def _expected_errors(kept: Nearest, error: np.ndarray) -> np.ndarray:
    """Mean absolute error by distance of the nearest neighbour and by number of neighbours, float64 [distances, votes].

    Args:
        kept: the neighbours of evaluated models.
        error: float64 [r], absolute errors of what they tell, with weights learned elsewhere.
    """
    is_told = (kept.distance[:, 0] > 0) & (kept.distance[:, 0] <= FARTHEST)
    distance, votes, error = _distance_cells(kept)[is_told], _vote_cells(kept)[is_told], error[is_told]
    n_votes = len(VOTE_EDGES) + 1
    overall = float(error.mean()) if len(error) else 0.0
    found = np.full((FARTHEST, n_votes), overall)
    by_distance = np.arange(FARTHEST).repeat(n_votes).reshape(found.shape)
    for cell, place in (
        (distance, by_distance),
        (distance * n_votes + votes, np.arange(found.size).reshape(found.shape)),
    ):
        cases = np.bincount(cell, minlength=found.size)[place]
        found = (np.bincount(cell, weights=error, minlength=found.size)[place] + PRIOR_CASES * found) / (
            cases + PRIOR_CASES
        )
    return found


def _distance_cells(kept: Nearest) -> np.ndarray:
    return np.clip(kept.distance[:, 0], 1, FARTHEST) - 1


def _vote_cells(kept: Nearest) -> np.ndarray:
    return np.searchsorted(VOTE_EDGES, (kept.source >= 0).sum(axis=1), side="right")


def _conforming(table: str, columns: dict[str, Sequence[object] | pa.Array]) -> pa.Table:
    """Columns as a table's contract has them; none for no rows."""
    schema = contract_of(table).arrow_schema
    return pa.table(columns).select(schema.names).cast(schema) if columns else schema.empty_table()
