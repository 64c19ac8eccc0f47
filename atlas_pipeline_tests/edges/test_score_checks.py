"""The SQL checks of ``edges.scores`` see what they are for."""

from __future__ import annotations

import pytest

from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline_tests.quality.broken_scores import BROKEN_SCORES
from atlas_pipeline_tests.quality.sound_tables import connect, sound_rows

CHECKS = {f"edges.scores/{check.name}": check for check in checks_of("edges.scores") if check.query}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_sound_scores_pass(check):
    with connect(sound_rows()) as connection:
        assert run_check(connection, check).is_passed


@pytest.mark.parametrize("breakage", BROKEN_SCORES, ids=str)
def test_broken_scores_are_found(breakage):
    rows = sound_rows()
    breakage.break_rows(rows)
    with connect(rows) as connection:
        result = run_check(connection, CHECKS[breakage.check])
    assert result.n_failing == breakage.n_failing
    assert all(text in " ".join(result.sample) for text in breakage.shows)


def test_every_check_of_scores_can_fail():
    assert {breakage.check for breakage in BROKEN_SCORES} == set(CHECKS)
