"""The documented atlas: parents as declared, cycles mended, regions and impact.

Each function takes a DuckDB connection with the tables that it needs as views, and returns the rows of one table.
"""

from __future__ import annotations

from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.components.families import model_families
from atlas_pipeline.components.hand_made import HandMade
from atlas_pipeline.graph import (
    EdgeList,
    descendant_totals,
    edges_to_drop,
    longest_depth,
    merge_share_totals,
    path_counted_totals,
    shortest_depth,
    weak_components,
)
from atlas_pipeline.schema.components import SOURCES, WEAK_SOURCES
from atlas_pipeline.storage import run_query

REGION_BUCKETS: Final = 16
"""Small families share so many partitions: few enough to look at, enough to fail apart."""


SOURCE_STRENGTH: Final = pa.table(
    {
        "source": list(SOURCES),
        "strength": list(range(1, len(SOURCES) + 1)),
        "is_weak": [source in WEAK_SOURCES for source in SOURCES],
    }
)


def claims(connection: duckdb.DuckDBPyConnection, snapshot: str, hand_made: HandMade) -> pa.Table:
    """Rows of ``components.claims``.

    Args:
        connection: with raw.hub_stats and components.cards up to the snapshot.
        snapshot: YYYY-MM-DD.
        hand_made: annotated parents and aliases.
    """
    connection.register("annotated", hand_made.parents)
    connection.register("aliases", hand_made.aliases)
    for name in ("listing", "statements", "names"):
        run_query(connection, f"components/{name}", snapshot=snapshot)
    return run_query(connection, "components/claims", snapshot=snapshot)


def documented_parents(connection: duckdb.DuckDBPyConnection, snapshot: str) -> pa.Table:
    """Rows of ``components.parents``.

    Args:
        connection: with components.claims, and raw.hub_stats up to the snapshot.
        snapshot: YYYY-MM-DD.
    """
    connection.register("sources", SOURCE_STRENGTH)
    run_query(connection, "components/listing", snapshot=snapshot)
    connection.register("mended", mend_cycles(run_query(connection, "components/parents", snapshot=snapshot)))
    return run_query(connection, "components/reached_parents").drop_columns(["strength"])


def mend_cycles(parents: pa.Table) -> pa.Table:
    """Add ``is_kept``, and the drop reason ``cycle`` where an edge had to go.

    Of the edges on a cycle those go first whose child is older than the parent, then those of the weakest source,
    then those last by name.

    Args:
        parents: child_id, parent_id, child_is_older, drop_reason and strength (1 the strongest source), sorted by ids.
    """
    stands = pc.is_null(parents["drop_reason"])
    candidates = parents.filter(stands)
    ids = pa.chunked_array(
        [pc.unique(pa.concat_arrays([c.combine_chunks() for c in (candidates["child_id"], candidates["parent_id"])]))]
    )
    graph = EdgeList.from_ids(ids, candidates["parent_id"], candidates["child_id"])
    is_older = pc.fill_null(candidates["child_is_older"], False).to_numpy()
    source_strength = -candidates["strength"].to_numpy()
    dropped = edges_to_drop(graph, np.where(is_older, -100, 0) + source_strength)
    is_dropped = np.zeros(parents.num_rows, dtype=bool)
    is_dropped[np.flatnonzero(stands.to_numpy())[dropped]] = True
    reason = pc.if_else(pa.array(is_dropped), "cycle", parents["drop_reason"])
    return parents.set_column(parents.column_names.index("drop_reason"), "drop_reason", reason).append_column(
        "is_kept", pc.is_null(reason)
    )


def cleaned_models(connection: duckdb.DuckDBPyConnection, snapshot: str) -> pa.Table:
    """Rows of ``components.models``, given raw.hub_stats up to the snapshot and components.parents."""
    return run_query(connection, "components/models", snapshot=snapshot)


def documented_graph(connection: duckdb.DuckDBPyConnection) -> tuple[pa.Table, EdgeList]:
    """The models by id, with downloads, children and hub, and the kept edges between them."""
    models = run_query(connection, "components/hubs")
    kept = connection.sql(
        "select child_id, parent_id from components.parents where is_kept order by all"
    ).to_arrow_table()
    return models, EdgeList.from_ids(models["model_id"], kept["parent_id"], kept["child_id"])


def regions(connection: duckdb.DuckDBPyConnection, snapshot: str, *, large_region_models: int) -> pa.Table:
    """Rows of ``components.regions``, given components.models and components.parents.

    Args:
        connection: with the two tables.
        snapshot: YYYY-MM-DD.
        large_region_models: fewer models than that share one partition; of more, a family of model types with at least
            so many has a partition of its own.
    """
    models, graph = documented_graph(connection)
    count, _ = descendant_totals(graph, np.zeros(graph.n_nodes, dtype=np.int64))
    labels = pa.table({"model_id": models["model_id"], "component": weak_components(graph), "n_descendants": count})
    connection.register("labels", labels)
    connection.register("same_families", model_families())
    return run_query(
        connection,
        "components/regions",
        snapshot=snapshot,
        large_region_models=large_region_models,
        n_buckets=REGION_BUCKETS,
    )


def impact(connection: duckdb.DuckDBPyConnection, snapshot: str) -> pa.Table:
    """Rows of ``components.impact``, given components.models and components.parents."""
    models, graph = documented_graph(connection)
    downloads = models["downloads"].to_numpy()
    n_descendants, below = descendant_totals(graph, downloads)
    return pa.table(
        {
            "snapshot": pa.repeat(snapshot, len(models)),
            "model_id": models["model_id"],
            "depth": longest_depth(graph),
            "shortest_depth": shortest_depth(graph),
            "is_leaf": pc.equal(models["n_children"], 0),
            "hub_id": models["hub_id"],
            "n_children": models["n_children"],
            "n_descendants": n_descendants,
            "descendant_downloads": below,
            "sub_tree_downloads": below + downloads,
            "merge_share_downloads": merge_share_totals(graph, downloads),
            "path_counted_downloads": path_counted_totals(graph, downloads),
        }
    )
