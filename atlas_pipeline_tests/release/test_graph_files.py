from __future__ import annotations

import gzip

import networkx as nx
import pytest

from atlas_pipeline.release.graph_files import file_stem, write_graph_files
from atlas_pipeline.storage import TableStore
from atlas_pipeline_tests.quality.sound_tables import SILENT, SNAPSHOTS, TUNED, find, row, sound_rows, write_home

READERS = {"gexf": nx.read_gexf, "graphml": nx.read_graphml}
HOSTILE = '"><script x="&lt;\x00\x0b\ud7ff\ufffe\U0001f600]]>\n</node>'


def read(store: TableStore, name: str, kind: str) -> nx.DiGraph:
    with gzip.open(store.files.path(f"graphs/{name}.{kind}.gz")) as stream:
        return READERS[kind](stream)


def place(kind: str, node: dict) -> tuple[float, float]:
    at = node["viz"]["position"] if kind == "gexf" else node
    return at["x"], at["y"]


@pytest.mark.parametrize("kind", READERS)
def test_networkx_reads_back_models_edges_and_positions(kind, tmp_path):
    rows = sound_rows()
    store = write_home(str(tmp_path), rows)
    written = {path for path, _, _ in write_graph_files(store, "graphs")}
    whole = read(store, "atlas", kind)
    expected = {r["model_id"]: (r["x"], r["y"]) for r in rows["release.positions"]}
    assert {model: place(kind, node) for model, node in whole.nodes(data=True)} == expected
    edges = {(r["parent_id"], r["child_id"]): r for r in rows["edges.charted"]}
    assert set(whole.edges) == set(edges)
    for ends, edge in edges.items():
        for name in ("relation", "origin", "rule", "confidence", "is_ambiguous"):
            assert whole.edges[ends][name] == edge[name]
        assert "coefficient" not in whole.edges[ends], "what is not known is left out"
    assert whole.nodes[TUNED]["downloads_30d"] == 20
    assert whole.nodes[TUNED]["license"] == "mit"
    assert whole.nodes[TUNED]["created_at"] == "2024-01-02T00:00:00Z"
    assert "license" not in whole.nodes[SILENT]
    parts = [path.split(".")[0] for path in written if path.startswith("regions/") and path.endswith(f".{kind}.gz")]
    assert sorted(parts) == ["regions/01-lab--base", "regions/02-old--gone"]
    regions = [read(store, part, kind) for part in parts]
    assert nx.utils.edges_equal(nx.compose_all(regions).edges, whole.edges, directed=True)
    assert sum(len(region) for region in regions) == len(whole)


@pytest.mark.parametrize("kind", READERS)
def test_hostile_texts_stay_texts(kind, tmp_path):
    rows = sound_rows()
    child = HOSTILE.replace("\x00", "")
    for table, column in (("components.models", "model_id"), ("release.positions", "model_id")):
        for each in rows[table]:
            if each[column] == TUNED:
                each[column] = child
    find(rows, "components.models", model_id=child, snapshot=SNAPSHOTS[-1])["license"] = HOSTILE
    for each in rows["edges.charted"]:
        each.update({name: child for name in ("child_id", "parent_id") if each[name] == TUNED})
    store = write_home(str(tmp_path), rows)
    write_graph_files(store, "graphs")
    graph = read(store, "atlas", kind)
    allowed = child.replace("\x0b", "\ufffd").replace("\ufffe", "\ufffd")
    assert allowed in graph
    assert graph.nodes[allowed]["license"] == HOSTILE.replace("\x0b", "\ufffd").replace("\ufffe", "\ufffd").replace(
        "\x00", "\ufffd"
    )
    assert graph.in_degree(allowed) == 1


def test_the_same_tables_give_the_same_bytes(tmp_path):
    store = write_home(str(tmp_path), sound_rows())
    assert write_graph_files(store, "graphs") == write_graph_files(store, "graphs")


@pytest.mark.parametrize("kind", READERS)
def test_models_without_edges_are_left_out(kind, tmp_path):
    rows = sound_rows()
    for snapshot in SNAPSHOTS:
        rows["components.models"].append(row("components.models", snapshot=snapshot, model_id="lab/alone"))
    rows["release.positions"].append(
        row("release.positions", model_id="lab/alone", x=-9.0, component_id="lab/alone", component_size=1)
    )
    store = write_home(str(tmp_path), rows)
    write_graph_files(store, "graphs")
    assert "lab/alone" not in read(store, "atlas", kind)


@pytest.mark.parametrize("kind", READERS)
def test_no_models_make_an_empty_graph(kind, tmp_path):
    store = TableStore(str(tmp_path))
    assert [path for path, _, _ in write_graph_files(store, "graphs")] == ["atlas.gexf.gz", "atlas.graphml.gz"]
    assert len(read(store, "atlas", kind)) == 0


def test_names_of_files_cannot_leave_the_folder():
    assert file_stem("lab/base-7b.v1") == "lab--base-7b.v1"
    assert set(file_stem("../\\:\x00é" * 99)) <= set("._-")
    assert len(file_stem("a" * 999)) == 80
