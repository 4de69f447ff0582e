from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from imagine_cli.errors import InputError
from imagine_cli.recording.probe import check_survives, probing


def test_a_crash_is_a_sentence_and_an_exception_is_left_to_be_found_again() -> None:
    with probing(), pytest.raises(InputError, match="a.h5 is damaged and can't be opened"):
        check_survives(lambda: os.kill(os.getpid(), signal.SIGSEGV), Path("a.h5"))
    with probing():
        check_survives(lambda: 1 / 0, Path("a.h5"))


def test_another_thread_keeps_nothing_from_being_tried() -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        with probing(), pytest.raises(InputError, match="a.h5 is damaged and can't be opened"):
            check_survives(lambda: os.kill(os.getpid(), signal.SIGSEGV), Path("a.h5"))
    finally:
        ended.set()
        thread.join()


def test_a_program_of_somebody_elses_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("it forks"))
    check_survives(lambda: None, Path("a.h5"))


def test_it_is_no_error_where_the_ends_of_processes_are_ignored() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with probing():
            check_survives(lambda: None, Path("a.h5"))
    finally:
        signal.signal(signal.SIGCHLD, before)
