from __future__ import annotations

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
    found = timing.milliseconds(
        {"a": lambda: work("a", [9.0, 0.1, 0.3, 0.2]), "b": lambda: work("b", [1.0])}, seconds=15.0
    )
    assert calls[:6] == ["a", "b"] * 3
    assert len(calls) == 2 + 2 * 6  # once each, then until 15 seconds are over
    assert found == {"a": pytest.approx(250.0), "b": pytest.approx(1000.0)}


def test_at_least_five_times(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    timing.milliseconds({"a": lambda: calls.append(1)}, seconds=1e-9)
    assert len(calls) == 6
