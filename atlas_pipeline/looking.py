"""The map of an atlas as a page on this machine: the one of a release, or one that is made for the purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.questions import NotAnAtlasError, open_atlas
from atlas_pipeline.release.bundle import DATABASE, FOLDER, MAP
from atlas_pipeline.release.map_files import map_files

PAGE: Final = "index.html"


def map_page(atlas: Atlas, database: Path | None, folder: Path | None) -> Path:
    """The page of the map: that of the release if there is one, else written from its tables.

    Args:
        atlas: whose home holds the release, unless ``database`` says otherwise.
        database: a downloaded release, or its atlas.duckdb.
        folder: where to write a map, even if there is one elsewhere.

    Returns:
        the page's absolute path.

    Raises:
        NotAnAtlasError: ``database`` is none, or there is nothing to draw.
    """
    release = Path(atlas.settings.home) / FOLDER if database is None else database
    beside = (release.parent if release.name == DATABASE else release) / MAP
    if folder is None and (beside / PAGE).is_file():
        return (beside / PAGE).absolute()
    target = (folder or beside).absolute()
    if database is None and not atlas.store.partitions("release.positions"):
        raise NotAnAtlasError(f"{atlas.settings.home} holds no map yet: `atlas run` makes one")
    with open_atlas(atlas, database) as connection:
        try:
            connection.execute("select 1 from release.positions limit 0")
        except duckdb.Error:
            raise NotAnAtlasError(f"{database} is a release from before there were maps") from None
        for name, content in map_files(connection, "of this home" if database is None else "downloaded"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
    return target / PAGE
