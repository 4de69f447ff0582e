from __future__ import annotations

import signal
import threading
import time

import pytest

from imagine_cli.recording.write_behind import WriteBehind


def test_calls_are_made_in_their_order_in_one_other_thread() -> None:
    made: list[tuple[int, int]] = []
    behind = WriteBehind(100)
    for k in range(200):
        behind.put(30, lambda k=k: made.append((k, threading.get_ident())))  # type: ignore[misc]
    behind.end()
    assert [k for k, _ in made] == list(range(200))
    assert {thread for _, thread in made} != {threading.get_ident()}
    assert len({thread for _, thread in made}) == 1


def test_who_hands_over_waits_only_where_there_is_no_room() -> None:
    gate = threading.Event()
    behind = WriteBehind(100)
    behind.put(60, gate.wait)  # type: ignore[arg-type]
    behind.put(40, gate.wait)  # type: ignore[arg-type]
    timer = threading.Timer(0.2, gate.set)
    begun = time.monotonic()
    timer.start()
    behind.put(1, lambda: None)
    assert time.monotonic() - begun > 0.15
    behind.end()


def test_one_that_is_larger_than_the_room_is_taken_alone() -> None:
    behind = WriteBehind(10)
    behind.put(1000, lambda: None)
    behind.put(1000, lambda: None)
    behind.end()


def test_an_error_is_raised_where_calls_come_from_and_none_is_made_after_it() -> None:
    made: list[str] = []

    def fail() -> None:
        raise OSError("full")

    behind = WriteBehind(10)
    behind.put(1, fail)
    with pytest.raises(OSError, match="full"):
        for _ in range(1000):
            behind.put(10, lambda: made.append("after"))
    with pytest.raises(OSError, match="full"):
        behind.end()
    assert made == []


def test_dropping_makes_no_more() -> None:
    gate, made = threading.Event(), list[str]()
    behind = WriteBehind(1000)
    behind.put(1, gate.wait)  # type: ignore[arg-type]
    behind.put(1, lambda: made.append("dropped"))
    threading.Timer(0.05, gate.set).start()
    behind.drop()
    assert made == []


@pytest.mark.parametrize("wait", ["put", "end"])
def test_ctrl_c_while_waiting_does_not_lose_sight_of_the_thread(wait: str) -> None:
    gate, made = threading.Event(), list[str]()

    def first() -> None:
        gate.wait()
        time.sleep(0.1)
        made.append("first")

    behind = WriteBehind(10)
    behind.put(10, first)
    main = threading.get_ident()
    threading.Timer(0.05, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        behind.put(10, lambda: made.append("second")) if wait == "put" else behind.end()
    gate.set()
    behind.drop()
    assert made == ["first"]
    behind.drop()
