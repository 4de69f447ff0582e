from __future__ import annotations

import signal

import pytest

from imagine_cli.interrupts import interrupts_held_back


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_handled_at_the_end_of_the_block(number: signal.Signals) -> None:
    reached = []

    class Handled(BaseException):
        pass

    def handle(number: int, frame: object) -> None:
        raise Handled

    def work() -> None:
        with interrupts_held_back():
            signal.raise_signal(number)
            reached.append("the end")

    before = signal.signal(number, handle)
    try:
        with pytest.raises(Handled):
            work()
        assert signal.getsignal(number) is handle
    finally:
        signal.signal(number, before)
    assert reached == ["the end"]
