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


def test_one_that_comes_while_handlers_are_restored_leaves_none_behind() -> None:
    def terminate(number: int, frame: object) -> None:
        raise SystemExit

    before = signal.signal(signal.SIGTERM, terminate)
    restore = signal.signal

    def restored(number: signal.Signals, handler: object) -> object:
        found = restore(number, handler)  # type: ignore[arg-type]
        if handler in (terminate, signal.default_int_handler):
            signal.raise_signal(number)
        return found

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(signal, "signal", restored)
            with pytest.raises((KeyboardInterrupt, SystemExit)), interrupts_held_back():
                pass
        assert signal.getsignal(signal.SIGTERM) is terminate
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
