"""One frozen Settings, read from ATLAS_* variables; every value has a default that works offline."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEMO: Final = "demo"
"""Value of ``hub_stats``, ``weights`` and ``truth`` that stands for the demo hub, made on first use in the home."""

HUB: Final = "hub"
"""Value of ``hub_stats`` and ``weights`` that stands for the Hugging Face Hub."""

FOLDER: Final = "folder"
"""Value of ``hub_stats`` that stands for a listing made of the folder of weights itself."""

DEFAULT_HOME: Final = ".atlas"

LEAST: Final = {
    "seed": 0,
    "n_neurons": 1,
    "n_neighbors": 1,
    "leaves_per_node": 0,
    "large_region_models": 1,
    "release_fix": 0,
    "threads": 0,
}
"""The least value of each setting that is a whole number."""

GREATEST: Final = 2**31 - 1
"""The greatest: every library that takes one of them takes this."""

_WORDS: Final = {"hub_stats": (DEMO, HUB, FOLDER), "weights": (DEMO, HUB), "truth": (DEMO,)}
_MEMORY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})? ?([KMGT]i?B|%)", re.IGNORECASE)
_SIZE = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?) ?(?P<prefix>[KMGT])(?P<binary>i?)B", re.IGNORECASE)


class SettingsError(ValueError):
    """An ATLAS_* variable that cannot be used; the message names it and says what it takes."""


@dataclass(frozen=True)
class Settings:
    """Everything that a run can be told.

    Attributes:
        home: folder or object-store URL that holds all tables and the release (ATLAS_HOME).
        hub_stats: a ``models.parquet``, a folder of ``<snapshot>/models.parquet``, ``hf://…``, ``hub``, ``demo``, or
            ``folder`` for a listing made of the folder of weights itself.
        weights: a folder ``<org>/<name>/<files>``, ``demo``, or empty for metadata only.
        annotations: folder of CSVs with hand-made parents and aliases; empty for the project's own alone.
        cards: Parquet files of model cards (id, card): ``<snapshot>.parquet`` in a folder, or one file; empty for the
            README.md files in the folder of weights.
        evaluations: folder of Parquet or CSV files model_id, leaderboard, benchmark, value; empty for none.
        llm_endpoint: base URL of an OpenAI-compatible service that reads results out of cards; empty for none. Its key
            is taken from OPENAI_API_KEY.
        llm_model: the model that the service is asked for.
        truth: Parquet or CSV of true edges to score charting against, ``demo``, or empty for hidden documented edges.
        release_repo: Hub data set to publish to; empty for a dry run.
        release_fix: number of the release from one snapshot that says it better than the one before; 0 for the first.
        seed: seed of every random choice.
        n_neurons: neurons (weight rows) sampled from each model.
        leaves_per_node: leaves sampled of each parent, drawn by the seed; 0 for all (the paper kept 3).
        model_read_limit: bytes that sampling may read of one model, as ``64MB``.
        run_read_limit: bytes that one run may fetch from the Hub, as ``100GB``.
        n_neighbors: nearest models kept for each model; K of the paper's Algorithm 1.
        large_region_models: fewer models than that are charted in one partition; of more, a family of model types
            with at least so many has a partition of its own.
        threads: threads that DuckDB may use; 0 for all cores.
        memory_limit: memory that DuckDB may use, as ``4GB``; empty for its own default.
    """

    home: str
    hub_stats: str = DEMO
    weights: str = DEMO
    annotations: str = ""
    cards: str = ""
    evaluations: str = ""
    llm_endpoint: str = ""
    llm_model: str = ""
    truth: str = DEMO
    release_repo: str = ""
    release_fix: int = 0
    seed: int = 0
    n_neurons: int = 100
    leaves_per_node: int = 0
    model_read_limit: str = "64MB"
    run_read_limit: str = "100GB"
    n_neighbors: int = 5
    large_region_models: int = 1000
    threads: int = 0
    memory_limit: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from ATLAS_* variables.

        An own ATLAS_HUB_STATS switches the demo's weights and truth off, which do not belong to it. A folder of
        weights without ATLAS_HUB_STATS is listed itself. An empty value means the default, but for ATLAS_WEIGHTS and
        ATLAS_TRUTH, where it means none.

        Args:
            environment: variables by name; the process's own when None.

        Raises:
            SettingsError: a value that cannot be used, or an ATLAS_* variable that does not exist.
        """
        variables = os.environ if environment is None else environment
        names = {f"ATLAS_{field.name.upper()}": field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(name for name in variables if name.startswith("ATLAS_") and name not in names):
            raise SettingsError(f"{unknown[0]} is no setting; there are {', '.join(names)}")
        given = {field: variables[name].strip() for name, field in names.items() if name in variables}
        given = {name: value for name, value in given.items() if value or name in ("weights", "truth")}
        has_folder = given.get("weights", "") not in ("", *_WORDS["weights"])
        hub_stats = given.get("hub_stats", FOLDER if has_folder else DEMO)
        if hub_stats == FOLDER and not has_folder:
            raise SettingsError("ATLAS_HUB_STATS=folder lists the models of a folder: name that in ATLAS_WEIGHTS")
        beside = DEMO if hub_stats == DEMO else ""
        values: dict[str, str | int] = {"weights": beside, "truth": beside, **given, "hub_stats": hub_stats}
        values["home"] = given.get("home", DEFAULT_HOME)
        for name in [name for name in LEAST if name in given]:
            values[name] = _whole_number(name, given[name])
        for name in ("home", "hub_stats", "weights", "annotations", "cards", "evaluations", "truth"):
            if name in values:
                values[name] = _absolute(name, str(values[name]))
        if (limit := given.get("memory_limit")) and not _MEMORY.fullmatch(limit):
            raise SettingsError(f"ATLAS_MEMORY_LIMIT takes a size as 4GB or 50%, not {limit!r}")
        for name in ("model_read_limit", "run_read_limit"):
            if name in given and not _SIZE.fullmatch(given[name]):
                raise SettingsError(f"ATLAS_{name.upper()} takes a size as 64MB or 1.5GiB, not {given[name][:40]!r}")
        endpoint = given.get("llm_endpoint", "")
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise SettingsError("ATLAS_LLM_ENDPOINT takes an address that begins with http:// or https://")
        if bool(endpoint) != bool(given.get("llm_model")):
            raise SettingsError("ATLAS_LLM_ENDPOINT and ATLAS_LLM_MODEL are only of use together")
        return cls(**values)  # type: ignore[arg-type]

    @property
    def is_local(self) -> bool:
        """Whether the home is a folder of this machine."""
        return "://" not in self.home

    def size_bytes(self, name: str) -> int:
        """A size in bytes.

        Args:
            name: model_read_limit or run_read_limit.
        """
        match = _SIZE.fullmatch(str(getattr(self, name)))
        if match is None:
            raise SettingsError(f"{name} takes a size as 64MB or 1.5GiB, not {getattr(self, name)!r}")
        base = 1024 if match["binary"] else 1000
        return int(float(match["number"]) * base ** ("KMGT".index(match["prefix"].upper()) + 1))

    @property
    def hub_cache(self) -> Path:
        """File with what was read of the Hub; it may be deleted at any time."""
        return self.state_folder / "hub_cache.sqlite"

    @property
    def state_folder(self) -> Path:
        """Local folder for what is no table: the orchestrator's state, the demo hub, downloads."""
        return Path(self.home) if self.is_local else Path(DEFAULT_HOME).absolute()

    @property
    def dagster_home(self) -> Path:
        """Folder of the orchestrator's state."""
        return self.state_folder / "dagster"

    @property
    def demo_folder(self) -> Path:
        """Where the demo hub lies, once it is made."""
        return self.state_folder / "demo_hub"

    def location(self, name: str) -> str:
        """A setting's location: ``demo`` stands for a place in the demo hub, a listing of weights lies where they do.

        Args:
            name: hub_stats, weights, truth, annotations, cards or evaluations.
        """
        value = str(getattr(self, name))
        if name == "hub_stats" and value == FOLDER:
            return self.weights
        places = {"hub_stats": "hub_stats", "weights": "models", "truth": "truth.parquet"}
        return str(self.demo_folder / places[name]) if value == DEMO and name in places else value


def _whole_number(name: str, value: str) -> int:
    is_number = value.isascii() and value.isdigit() and len(value) <= len(str(GREATEST))
    if not is_number or not LEAST[name] <= int(value) <= GREATEST:
        raise SettingsError(
            f"ATLAS_{name.upper()} takes a whole number from {LEAST[name]} to {GREATEST}, not {value[:40]!r}"
        )
    return int(value)


def _absolute(name: str, location: str) -> str:
    """A location that keeps its meaning when the working folder changes."""
    location = location.removeprefix("file://")
    if not location or location in _WORDS.get(name, ()) or "://" in location:
        return location
    try:
        return str(Path(location).expanduser().absolute())
    except RuntimeError as error:
        raise SettingsError(f"ATLAS_{name.upper()}={location}: {error}") from error
