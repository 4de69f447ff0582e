"""Scoring that takes over a minute is said to, from a few of its windows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from imagine_cli.errors import Remark
from imagine_cli.fitting.horizons import _foretell


@pytest.mark.parametrize(
    ("fixed", "each", "said"),
    [(0.1, 0.1, "about 3.4 minutes"), (1.0, 0.0, None), (0.01, 0.001, None), (6.0, 0.0, "2 min")],
)
def test_the_time_is_that_of_all_windows(
    fixed: float, each: float, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("imagine_cli.fitting.horizons.time.perf_counter", lambda: now[0])

    def imagined(count: int, steps: int) -> Iterator[Any]:
        for _ in range(steps):
            now[0] += fixed + count * each
            yield None

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _foretell(imagined, 100, 20)
    sentences = [str(one.message) for one in caught if one.category is Remark]
    if said is None:
        assert sentences == []
    else:
        assert said in sentences[0]
        assert now[0] < 0.2 * 20 * (fixed + 100 * each)
