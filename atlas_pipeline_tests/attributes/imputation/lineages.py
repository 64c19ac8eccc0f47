"""Small lineages: tables of models with parents, labels and results, as the attributes stage reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import networkx as nx
import numpy as np

from atlas_pipeline_tests.components.listings import connected, day, table_of

LABELS = ("author", "pipeline_tag", "library_name", "model_type", "license", "created_at", "created_at_is_floor")


def lineage_tables(
    models: Mapping[str, Mapping[str, Any]], results: Iterable[Mapping[str, Any]] = ()
) -> duckdb.DuckDBPyConnection:
    """A connection that sees components.models, parents, impact, regions and attributes.evaluations.

    Args:
        models: by id; ``parents`` is a list of (parent, relation) or (parent, relation, is_kept), the rest are columns.
            Regions and hubs follow from the kept parents.
        results: model_id, benchmark, metric, value, and unit where it is not share.
    """
    edges = [
        {"child_id": child, "parent_id": parent, "relation": relation, "is_kept": not kept or kept[0]}
        for child, columns in models.items()
        for parent, relation, *kept in columns.get("parents", [])
    ]
    kept = [edge for edge in edges if edge["is_kept"]]
    graph = nx.Graph((edge["parent_id"], edge["child_id"]) for edge in kept)
    graph.add_nodes_from(models)
    region = {model: min(component) for component in nx.connected_components(graph) for model in component}
    parents: dict[str, list[str]] = {model: [] for model in models}
    for edge in sorted(kept, key=lambda edge: edge["parent_id"]):
        parents[edge["child_id"]].append(edge["parent_id"])
    inner = {edge["parent_id"] for edge in kept}
    hub = {model: " + ".join(parents[model]) for model in models if parents[model] and model not in inner}
    size = Counter(hub.values())
    return connected(
        {
            "components.models": table_of(
                "components.models",
                [
                    {"model_id": model} | {name: columns[name] for name in LABELS if name in columns}
                    for model, columns in models.items()
                ],
            ),
            "components.parents": table_of(
                "components.parents",
                [e | {"sources": ["tag"], "relations": [], "disagreeing_sources": []} for e in edges],
            ),
            "components.regions": table_of(
                "components.regions", [{"model_id": model, "region_id": region[model]} for model in models]
            ),
            "components.impact": table_of(
                "components.impact",
                [{"model_id": m, "hub_id": hub[m] if m in hub and size[hub[m]] > 1 else None} for m in models],
            ),
            "attributes.evaluations": table_of(
                "attributes.evaluations",
                [{"unit": "share", "source": "leaderboard", "sources": ["leaderboard"]} | dict(r) for r in results],
            ),
        }
    )


def families(n: int, *, seed: int, size: int = 8) -> dict[str, dict[str, Any]]:
    """Families of a source and its children, whose licenses and types they mostly share; every label is reported.

    Children are made by one of three authors; libraries follow the author. A quarter of them are quantised.
    """
    rng = np.random.default_rng(seed)
    models: dict[str, dict[str, Any]] = {}
    for family in range(n):
        license_name, model_type = f"license-{rng.integers(4)}", f"type-{rng.integers(5)}"
        source = f"lab{family:03}/source"
        models[source] = {"license": license_name, "model_type": model_type, "author": f"lab{family:03}"}
        for child in range(size):
            author = f"author{rng.integers(3)}"
            relation = "quantized" if rng.random() < 0.25 else "finetune"
            models[f"{author}/m{family:03}-{child:02}"] = {
                "parents": [(source, relation)],
                "author": author,
                "license": license_name if rng.random() < 0.9 else f"license-{rng.integers(4)}",
                "model_type": model_type,
                "library_name": f"library-{author[-1]}",
                "created_at": day(1 + family + child * 20),
            }
    return models
