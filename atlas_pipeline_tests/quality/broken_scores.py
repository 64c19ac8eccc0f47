"""Ways to break sound rows of ``edges.scores``."""

from __future__ import annotations

from atlas_pipeline_tests.quality.breakages import Breakage, add, change

SCORES = "edges.scores"
OURS = {"region_id": "lab--base", "method": "nearest", "documentation": "hidden", "n_models": 4, "accuracy": 0.5}
CHARTED = {**OURS, "breakdown": "rule", "breakdown_value": "fan", "n_edges": 3}

BROKEN_SCORES = (
    *(
        Breakage(
            f"{SCORES}/twins_are_no_harder",
            f"a lower {share}",
            lambda rows, share=share: [
                change(SCORES, {"region_id": "lab--base"}, **{share: 0.5})(rows),
                add(SCORES, **{**OURS, "matching": "twins", share: 0.4})(rows),
            ],
            1,
            ("lab--base",),
        )
        for share in ("accuracy", "precision", "recall")
    ),
    Breakage(
        f"{SCORES}/methods_share_models",
        "another method has fewer",
        add(SCORES, **{**OURS, "method": "other", "n_models": 3}),
        1,
        ("lab--base", "3"),
    ),
    Breakage(f"{SCORES}/bins_hold_every_charted_edge", "no bins", add(SCORES, **CHARTED), 1, ("lab--base", "3")),
    Breakage(
        f"{SCORES}/bins_hold_every_charted_edge",
        "a bin of nothing",
        add(SCORES, **{**CHARTED, "breakdown": "confidence", "breakdown_value": "0.9-1.0"}),
        1,
        ("lab--base",),
    ),
    Breakage(
        f"{SCORES}/shares_have_something_to_share",
        "models without an accuracy",
        change(SCORES, {"region_id": "lab--base"}, accuracy=None),
        1,
        ("lab--base",),
    ),
    Breakage(
        f"{SCORES}/shares_have_something_to_share",
        "an accuracy of nothing",
        change(SCORES, {"region_id": "new--silent"}, accuracy=1.0),
        1,
        ("new--silent",),
    ),
)
