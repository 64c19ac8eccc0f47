"""Licenses along lineage: what ancestors ask for, and the first edge at which a child's own license does not.

The rules are data (``licenses.csv``): for each license as the Hub tags it, its SPDX id where it has one, and the terms
that it passes on to whoever makes something from the model. ``other``, ``unknown`` and licenses without a rule say
nothing that can be compared: what was inherited stays, and nothing counts as lost there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from atlas_pipeline.graph import EdgeList, descendant_totals, longest_depth, spread
from atlas_pipeline.storage import run_query

TERMS: Final = (
    "attribution",
    "naming",
    "no_derivatives",
    "non_commercial",
    "scale_limit",
    "share_alike",
    "use_restrictions",
)
"""What a license can ask of those who pass on what they made from the model; a set is a bit mask in this order."""

_RULES: Final = Path(__file__).with_name("licenses.csv")
_NO_LOSS: Final = np.iinfo(np.int64).max


@cache
def license_rules() -> pa.Table:
    """The rules: license, spdx_id (null where it has none), terms (bit mask, int64)."""
    texts = dict.fromkeys(("license", "spdx_id", "terms"), pa.string())
    rules = pacsv.read_csv(_RULES, convert_options=pacsv.ConvertOptions(column_types=texts))
    masks = [sum(1 << TERMS.index(term) for term in named.split()) for named in rules["terms"].to_pylist()]
    spdx = [name or None for name in rules["spdx_id"].to_pylist()]
    return pa.table({"license": rules["license"], "spdx_id": pa.array(spdx, pa.string()), "terms": pa.array(masks)})


@dataclass(frozen=True)
class Lineage:
    """Terms along the edges of a graph.

    Attributes:
        inherited: int64 [n], mask of the terms of all ancestors' licenses.
        lost: int64 [n], mask of the terms that were lost on some edge on the way to the model.
        first_edge: int64 [n], the edge nearest to a source at which some were lost; -1 where none were.
    """

    inherited: np.ndarray
    lost: np.ndarray
    first_edge: np.ndarray


def terms_along(graph: EdgeList, terms: np.ndarray, has_rule: np.ndarray) -> Lineage:
    """Follow the terms of licenses down the edges.

    A model whose license has a rule carries that license's terms; one without carries what its parents carry. An edge
    loses what the parent carries and the child's own license does not ask for.

    Args:
        graph: an acyclic graph.
        terms: int64 [n], mask of each model's own license; 0 without a rule.
        has_rule: bool [n], whether its license has a rule.

    Raises:
        CyclicGraph: the graph has a cycle.
    """
    depth = longest_depth(graph)
    carried, inherited = terms.copy(), np.zeros_like(terms)
    lost, first = np.zeros_like(terms), np.full(graph.n_nodes, _NO_LOSS)
    order = np.argsort(depth[graph.child], kind="stable")
    ends = np.flatnonzero(np.diff(depth[graph.child[order]])) + 1
    # Level by level: all parents of a level's children are done before it.
    for level in np.split(order, ends) if len(order) else ():
        parent, child = graph.parent[level], graph.child[level]
        loses = np.where(has_rule[child], carried[parent] & ~terms[child], 0)
        np.bitwise_or.at(carried, child, np.where(has_rule[child], 0, carried[parent]))
        np.bitwise_or.at(inherited, child, inherited[parent] | terms[parent])
        np.bitwise_or.at(lost, child, lost[parent] | loses)
        here = np.where(loses > 0, depth[child] * graph.n_edges + level, _NO_LOSS)
        np.minimum.at(first, child, np.minimum(first[parent], here))
    edge = np.where(first == _NO_LOSS, -1, first % max(graph.n_edges, 1))
    return Lineage(inherited, lost, edge)


def license_lineage(connection: duckdb.DuckDBPyConnection, snapshot: str) -> pa.Table:
    """Rows of ``attributes.license_lineage``.

    Args:
        connection: with components.models and components.parents of the snapshot.
        snapshot: YYYY-MM-DD.
    """
    connection.register("rules", license_rules())
    models = run_query(connection, "attributes/licensed_models")
    edges = connection.sql("select * from lineage_edges order by child_id, parent_id").to_arrow_table()
    graph = EdgeList.from_ids(models["model_id"], edges["parent_id"], edges["child_id"])
    lineage = terms_along(graph, models["terms"].to_numpy(), models["has_rule"].to_numpy())
    code = models["license_code"].to_numpy()
    is_licensed = code[graph.parent] >= 0
    node, license_code = spread(graph, graph.child[is_licensed], code[graph.parent[is_licensed]])
    _, unlicensed = descendant_totals(graph.reversed(), (code < 0).astype(np.int64))
    connection.register("found", pa.table({"position": node, "license_code": license_code}))
    connection.register("terms_of", _named_masks())
    connection.register(
        "lineage",
        pa.table(
            {
                "position": np.arange(graph.n_nodes),
                "inherited": lineage.inherited,
                "lost": lineage.lost,
                "n_unlicensed": unlicensed,
                # The edge -1, none, is the one appended.
                "lost_at_child": np.append(graph.child, -1)[lineage.first_edge],
                "lost_at_parent": np.append(graph.parent, -1)[lineage.first_edge],
            }
        ),
    )
    return run_query(connection, "attributes/license_lineage", snapshot=snapshot)


def _named_masks() -> pa.Table:
    """Every mask with the names of its terms."""
    names = [[term for bit, term in enumerate(TERMS) if mask >> bit & 1] for mask in range(1 << len(TERMS))]
    return pa.table({"mask": pa.array(range(len(names)), pa.int64()), "terms": pa.array(names, pa.list_(pa.string()))})
