from __future__ import annotations

import time

import pytest

from imagine_cli.benchmarks import timing


def test_works_take_turns_and_medians_are_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    calls: list[str] = []

    def work(name: str, durations: list[float]) -> None:
        nonlocal clock
        clock += durations[calls.count(name) % len(durations)]
        calls.append(name)

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    works = {
        "a": lambda: work("a", [9.0, 2.0, 1.0, 3.0]),
        "b": lambda: work("b", [1.0]),
        "short": lambda: work("short", [0.0078125]),
    }
    found = timing.milliseconds(works, seconds=15.0)
    # Once, twice more, and then turns of 1, 1 and, after 3 not counted, 2 runs until 15 seconds
    # and five turns are over.
    assert calls[:3] == ["a", "b", "short"]
    assert calls[3:9] == ["a", "a", "b", "b", "short", "short"]
    assert calls[9:] == ["a", "b", *["short"] * 5] * 5
    assert found == {
        "a": pytest.approx(3000.0),  # of 3, 9, 2, 1 and 3 s
        "b": pytest.approx(1000.0),
        "short": pytest.approx(7.8125),
    }


def test_at_least_five_turns() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        time.sleep(timing._TURN)

    timing.milliseconds({"a": work}, seconds=1e-9)
    assert len(calls) == 3 + 2 * 5
