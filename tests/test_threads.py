from __future__ import annotations

import threading

import torch
from threads import threads

from imagine_cli.threads import one_thread


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
