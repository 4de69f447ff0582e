"""Two commands for one target, and signals at random moments; the larger numbers are in README."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.trials import run_trials


@pytest.mark.long
@pytest.mark.parametrize(("what", "count"), [("writers", 2), ("signals", 10)])
def test_some(what: str, count: int, tmp_path: Path) -> None:
    assert sum(run_trials("race_trials.py", what, count, tmp_path).values()) >= count
