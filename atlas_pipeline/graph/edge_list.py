"""A directed graph as two integer arrays, and the step from model ids to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix


class UnknownNode(ValueError):
    """An edge names a model that is no node; the message says which."""


def distinct(values: np.ndarray) -> np.ndarray:
    """Distinct values, sorted, of an int64 [k].

    By sorting: ``np.unique`` hashes integers, which takes thirty times as long on a million of them.
    """
    ordered = np.sort(values)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


@dataclass(frozen=True)
class EdgeList:
    """A directed graph; an edge runs from parent to child.

    Attributes:
        n_nodes: nodes are 0 to n_nodes - 1.
        parent: int64 [m], one entry an edge.
        child: int64 [m], aligned with ``parent``.
    """

    n_nodes: int
    parent: np.ndarray
    child: np.ndarray

    @classmethod
    def from_ids(cls, ids: pa.ChunkedArray, parents: pa.ChunkedArray, children: pa.ChunkedArray) -> EdgeList:
        """Index edges between ids.

        Args:
            ids: distinct model ids; a node is a position in it.
            parents: parent id of each edge.
            children: child id of each edge.

        Raises:
            UnknownNode: an edge ends at an id that is not among ``ids``.
        """
        nodes = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        ends = []
        for column in (parents, children):
            found = pc.index_in(column, value_set=nodes)
            if found.null_count:
                missing = column.filter(pc.is_null(found))[0].as_py()
                raise UnknownNode(f"{found.null_count} edges end at no known model, the first at {missing}")
            ends.append(found.to_numpy().astype(np.int64))
        return cls(len(nodes), ends[0], ends[1])

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return len(self.parent)

    def keep(self, mask: np.ndarray) -> EdgeList:
        """The graph with only the edges where ``mask`` (bool [m]) is true."""
        return EdgeList(self.n_nodes, self.parent[mask], self.child[mask])

    def distinct(self) -> EdgeList:
        """The graph without parallel edges, its edges sorted by parent, then child."""
        n = np.int64(max(self.n_nodes, 1))
        pairs = distinct(self.parent * n + self.child)
        return EdgeList(self.n_nodes, pairs // n, pairs % n)

    def reversed(self) -> EdgeList:
        """The graph with every edge turned round."""
        return EdgeList(self.n_nodes, self.child, self.parent)

    def matrix(self) -> csr_matrix:
        """Adjacency as a sparse int8 matrix [n, n], row = parent; parallel edges become one."""
        weights = np.ones(self.n_edges, dtype=np.int8)
        adjacency = csr_matrix((weights, (self.parent, self.child)), shape=(self.n_nodes, self.n_nodes))
        adjacency.data[:] = 1
        return adjacency

    def children_of(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Children of many nodes at once.

        Args:
            nodes: int64 [k], repeats allowed.

        Returns:
            positions into ``nodes`` and the child at each, both int64 and aligned.
        """
        starts, targets = self._by_parent
        counts = starts[nodes + 1] - starts[nodes]
        position = np.repeat(np.arange(len(nodes)), counts)
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, targets[np.repeat(starts[nodes], counts) + offset]

    @property
    def _by_parent(self) -> tuple[np.ndarray, np.ndarray]:
        cached = self.__dict__.get("_sorted")
        if cached is None:
            order = np.lexsort((self.child, self.parent))
            starts = np.concatenate(([0], np.cumsum(np.bincount(self.parent, minlength=self.n_nodes))))
            cached = (starts.astype(np.int64), self.child[order])
            object.__setattr__(self, "_sorted", cached)
        return cached
