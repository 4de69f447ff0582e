from __future__ import annotations

import os
import threading

import pytest
import torch

from imagine_cli.cli import main
from imagine_cli.threads import one_thread
from tests.helpers.threads import threads


def test_blocks_that_overlap_leave_as_many_threads_as_before() -> None:
    entered, left, found = threading.Event(), threading.Event(), list[int]()

    def other() -> None:
        with one_thread():
            entered.set()
            left.wait(10)
        found.append(torch.get_num_threads())

    with threads(2):
        thread = threading.Thread(target=other)
        with one_thread():
            assert torch.get_num_threads() == 1
            thread.start()
            entered.wait(10)
        assert torch.get_num_threads() == 2
        left.set()
        thread.join()
        assert torch.get_num_threads() == 2
    assert found == [2]


@pytest.mark.parametrize(
    ("said", "spins"),
    [
        ({}, "5000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_threads_that_wait_go_to_sleep_unless_the_user_says_how(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str], spins: str | None
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ})
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        os.environ.pop(name, None)
    os.environ.update(said)
    assert main(["--version"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == spins
