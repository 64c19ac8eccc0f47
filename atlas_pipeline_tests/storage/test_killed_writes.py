"""SIGKILL before each operation on a file, and at random moments: old or new stands there, and no receipt lies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from atlas_pipeline_tests.storage import killed_writes


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_a_killed_write_leaves_old_or_new_and_a_true_receipt_or_none(tmp_path: Path) -> None:
    command = [sys.executable, "-m", killed_writes.__name__, str(tmp_path / "home"), "20"]
    project = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout)

    assert len({each["bytes"] for each in left}) == 1, "the versions are to be told apart by content alone"

    in_order = [each for each in left if each["operation"]]
    assert len(in_order) > 8
    assert [each["is_killed"] for each in in_order] == [True] * (len(in_order) - 1) + [False]
    assert (in_order[0]["rows"], in_order[0]["receipt"]) == (["old"], "old")
    assert (in_order[-1]["rows"], in_order[-1]["receipt"]) == (["new"], "new")
    assert any(each["rows"] == ["new"] and each["receipt"] is None for each in in_order)

    for each in left:
        assert each["rows"] in (["old"], ["new"])
        assert each["n_rows"] == killed_writes.N_ROWS
        assert each["arrays"] in ([1], [2])
        assert each["partitions"] == ["bucket-00"]
        if each["receipt"] is not None:
            assert each["is_true"]
            assert [each["receipt"]] == each["rows"]
            assert each["arrays"] == [killed_writes.VERSIONS[each["receipt"]]]
