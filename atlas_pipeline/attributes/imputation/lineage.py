"""Models with an edge as arrays: who is related to whom, who is a copy of whom, in which fold a label is held out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from atlas_pipeline.graph import EdgeList, weak_components
from atlas_pipeline.storage import run_query

N_FOLDS: Final = 5
"""What is learned of a model is learned from the other folds; a fold holds whole regions."""


@dataclass(frozen=True)
class Lineage:
    """The models with an edge, in the order of their ids; a node is a position in it.

    Attributes:
        model_ids: text [n].
        graph: the kept edges.
        is_copy: bool [m], whether an edge makes a copy (quantized, duplicate), aligned with the graph's.
        region: int64 [n].
        author: int64 [n]; -1 where unknown.
        created: int64 [n], microseconds since 1970; -1 where unknown or a floor.
        has_parent: bool [n].
        fold: int64 [n], below ``N_FOLDS``.
        is_drawn: whether some children were left out.
    """

    model_ids: pa.ChunkedArray
    graph: EdgeList
    is_copy: np.ndarray
    region: np.ndarray
    author: np.ndarray
    created: np.ndarray
    has_parent: np.ndarray
    fold: np.ndarray
    is_drawn: bool = False

    @property
    def n_models(self) -> int:
        """Number of models."""
        return self.graph.n_nodes

    @cached_property
    def copies(self) -> np.ndarray:
        """Models that are copies of one another have one number, int64 [n].

        Copies are joined by quantized or duplicate edges, so that the quantised versions of one model are copies of it
        and of each other.
        """
        return weak_components(self.graph.keep(self.is_copy))


def read_lineage(connection: duckdb.DuckDBPyConnection, *, seed: int, most_children: int = 0) -> Lineage:
    """Number the models with an edge; leaves ``lineage_models`` and ``lineage_parents`` in the connection.

    Args:
        connection: with components.models, parents and regions of the snapshot.
        seed: draws the folds, and the children.
        most_children: of more children about so many are drawn, siblings together; 0 for all.
    """
    drawn = run_query(connection, "attributes/lineage_parents", seed=str(seed), most_children=most_children)
    models = run_query(connection, "attributes/lineage_models", seed=str(seed), n_folds=N_FOLDS)
    edges = run_query(connection, "attributes/lineage_edges")
    graph = EdgeList(models.num_rows, integers(edges["parent"]), integers(edges["child"]))
    return Lineage(
        model_ids=models["model_id"],
        graph=graph,
        is_copy=edges["is_copy"].to_numpy().astype(bool),
        has_parent=models["has_parent"].to_numpy().astype(bool),
        is_drawn=bool(drawn["is_drawn"][0].as_py()),
        **{name: integers(models[name]) for name in ("region", "author", "created", "fold")},
    )


def integers(column: pa.ChunkedArray) -> np.ndarray:
    """A column without nulls as int64 [n]."""
    return column.to_numpy().astype(np.int64)
