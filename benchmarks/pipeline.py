"""The whole way from a hub-stats file to trends, as a user runs it: orchestrator, checks and tables included.

python -m benchmarks.pipeline --rows 100000 1000000 3000000
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg

from benchmarks.hub import write_hub

STAGES = ("raw", "components", "attributes", "trends")


def run(hub: Path, home: Path) -> tuple[float, float]:
    """Make all tables of a snapshot in a new process; seconds and peak memory in GB."""
    shutil.rmtree(home, ignore_errors=True)
    settings = {"ATLAS_HOME": str(home), "ATLAS_HUB_STATS": str(hub), "ATLAS_WEIGHTS": "", "ATLAS_MEMORY_LIMIT": "3GB"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ATLAS_")}
    command = [sys.executable, "-m", "atlas_pipeline.cli", "run", "--select", ",".join(STAGES)]
    start = time.perf_counter()
    with subprocess.Popen(command, env=kept | settings, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        said = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run failed:\n{said}")
    return time.perf_counter() - start, used.ru_maxrss / 1e6


def seconds_by_step(home: Path) -> dict[str, float]:
    """Seconds of each table and of its checks, as the orchestrator recorded them, the longest first."""
    found: dict[str, float] = {}
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        for record in instance.get_run_records():
            for entry in instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS):
                event = entry.get_dagster_event()
                seconds = event.step_success_data.duration_ms / 1000
                found[event.step_key or ""] = found.get(event.step_key or "", 0) + seconds
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="From a hub-stats file to trends, timed.")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    given = parser.parse_args()
    for rows in given.rows:
        folder = (given.folder / f"{rows}").absolute()
        hub = write_hub(folder / "hub", rows=rows).parent.parent
        seconds, peak = run(hub, folder / "pipeline")
        print(f"{rows:,} rows: {seconds:.1f} s, {1e6 * seconds / rows:.0f} us a row, peak {peak:.2f} GB", flush=True)
        for step, each in list(seconds_by_step(folder / "pipeline").items())[:15]:
            print(f"    {each:6.1f} s  {step}")


if __name__ == "__main__":
    main()
