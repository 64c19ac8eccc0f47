"""The paper's figures on drawn regions: what is cut is what was asked for, and the tables come out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from atlas_pipeline.features.plans import make_plan
from benchmarks import figures


def test_fewer_neurons_are_whole_rows_of_the_plan_and_nested():
    plan = make_plan({"a.weight": (40, 3), "b.weight": (50, 5)}, n_neurons=20, seed=1)
    region = figures.drawn_region(6, seed=0)
    n_columns = plan.n_dimensions
    # Each column is told by its number.
    vectors = np.tile(np.arange(n_columns, dtype=np.float32), (6, 1))
    region = replace(region, vectors=vectors, layout=())
    held = {}
    for n_neurons in (1, 4, 20):
        cut = figures.with_neurons(region, plan, n_neurons, seed=5)
        held[n_neurons] = set(cut.vectors[0].tolist())
        assert sum(neurons for neurons, _ in cut.layout) == n_neurons
        assert sum(neurons * width for neurons, width in cut.layout) == cut.vectors.shape[1]
        assert (cut.squared_distances == 0).all()
    assert held[1] < held[4] < held[20] == set(range(n_columns))
    assert len(held[1]) in (3, 5)


def test_a_drawn_region_has_copies_and_quantised_models():
    region = figures.drawn_region(400, seed=3)
    copies = (region.squared_distances == 0).sum() - 400
    assert copies > 40
    assert 20 < region.is_quantized.sum() < 70
    assert (np.diff(region.created_at) >= 0).all()


def test_table_4_names_the_papers_seconds(capsys):
    figures.main(["table4", "--models", "20", "30"])
    lines = capsys.readouterr().out.splitlines()
    assert "| algorithm1_resolved |" in lines[0]
    assert lines[2].endswith("| 0.01 |")
    assert lines[3].startswith("| 30 |")


def test_tables_of_truth_need_a_home():
    with pytest.raises(SystemExit):
        figures.main(["table2"])


def test_shares_are_pooled_over_models_and_spread_over_homes():
    rows = [
        {"accuracy": 0.5, "n_models": 10, "method": "x"},
        {"accuracy": 1.0, "n_models": 30, "method": "x"},
        {"accuracy": None, "n_models": 0, "method": "x"},
        {"accuracy": 0.0, "n_models": 99, "method": "y"},
    ]
    assert figures.pooled(rows, method="x") == pytest.approx(87.5)
    assert figures.pooled(rows, method="z") is None
    assert figures.spread([80.0, 90.0, None]) == "85.0 ± 7.1"
    assert figures.spread([80.0]) == "80.0"
    assert figures.spread([None]) == ""
