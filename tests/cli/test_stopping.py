"""Signals that come at moments at which Python can't raise anything."""

from __future__ import annotations

import os
import signal
import time

import pytest

from imagine_cli.cli.stopping import terminates


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_while_an_object_is_cleared_away(
    number: int, raised: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    class Dies:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            time.sleep(0.001)  # in which the handler runs

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(raised), terminates():
            Dies()
            for _ in range(1000):
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "Traceback" not in capfd.readouterr().err
