"""Writes the generated documents of a checkout: ``python -m atlas_pipeline.documents``."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from atlas_pipeline.schema import TABLES
from atlas_pipeline.schema.dictionary import data_dictionary

ROOT: Final = Path(__file__).resolve().parents[1]

PLACES: Final = {
    "raw": (0, 1),
    "components": (1, 1),
    "features": (2, 0),
    "distances": (3, 0),
    "edges": (4, 0),
    "attributes": (2, 2),
    "trends": (3, 2),
    "release": (5, 1),
}
"""Column and row of each stage in the picture of the asset graph."""

WIDTH, HEIGHT, GAP_X, GAP_Y = 150, 120, 50, 40


def asset_graph() -> str:
    """The asset graph as SVG: stages with their tables, an arrow where a table is made from one of another stage."""
    arrows = sorted(
        {
            (TABLES[given.table].stage, contract.stage)
            for contract in TABLES.values()
            for given in contract.inputs
            if TABLES[given.table].stage != contract.stage
        }
    )
    width, height = 6 * (WIDTH + GAP_X) - GAP_X + 20, 3 * (HEIGHT + GAP_Y) - GAP_Y + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">',
        "<title>The stages, their tables, and what each is made from</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        *(_arrow(start, end) for start, end in arrows),
        *(_box(stage) for stage in PLACES),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def generated() -> dict[str, str]:
    """Text of each generated document by its path in the checkout."""
    return {"docs/data_dictionary.md": data_dictionary(tuple(TABLES)), "docs/asset_graph.svg": asset_graph()}


def _corner(stage: str) -> tuple[int, int]:
    column, row = PLACES[stage]
    return 10 + column * (WIDTH + GAP_X), 10 + row * (HEIGHT + GAP_Y)


def _box(stage: str) -> str:
    x, y = _corner(stage)
    own = [contract for contract in TABLES.values() if contract.stage == stage]
    note = {"snapshot": "by snapshot", "region": "by region", None: ""}[own[0].partitioned_by]
    lines = [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#f4f6fa" stroke="#334"/>',
        f'<text x="{x + 10}" y="{y + 20}" font-size="14" font-weight="bold">{escape(stage)}</text>',
        f'<text x="{x + WIDTH - 10}" y="{y + HEIGHT - 8}" font-size="10" fill="#556" text-anchor="end">{note}</text>',
    ]
    for index, contract in enumerate(own):
        top = y + 42 + 19 * index
        lines.append(f'<text x="{x + 10}" y="{top}" font-size="12" font-family="monospace">{contract.table}</text>')
    return "\n".join(lines)


def _arrow(start: str, end: str) -> str:
    """A curve from the right edge of one stage to the left edge of another, ends spread by the other's row."""
    (x1, y1), (x2, y2) = _corner(start), _corner(end)
    from_y = y1 + HEIGHT // 2 + 14 * (PLACES[end][1] - PLACES[start][1])
    to_y = y2 + HEIGHT // 2 + 14 * (PLACES[start][1] - PLACES[end][1])
    from_x, to_x, bend = x1 + WIDTH, x2, (x2 - x1 - WIDTH) // 2
    path = f"M{from_x} {from_y}C{from_x + bend} {from_y} {to_x - bend} {to_y} {to_x} {to_y}"
    return f'<path d="{path}" fill="none" stroke="#99a" stroke-width="1.5" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    for name, text in generated().items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text, encoding="utf-8")
