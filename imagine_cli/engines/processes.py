"""The engine ``processes``: workers are processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from imagine_cli.engines.pooled import Pool, PooledEngine, WorkerLostError
from imagine_cli.engines.worker import Work, work_on
from imagine_cli.threads import cores


class ProcessesEngine(PooledEngine):
    """Processes that begin anew (spawn), one thread each.

    A script that asks for it has to do so below ``if __name__ == "__main__":``, as always where
    multiprocessing spawns.
    """

    @contextmanager
    def pool(self, work: Work | None) -> Iterator[Pool]:
        reader, writer = _CONTEXT.Pipe(duplex=False)
        try:
            yield _Processes(self.workers or cores(), reader)
        finally:
            writer.close()  # at which workers end themselves
            reader.close()


def _context() -> Any:
    """Where it can be, one process that has imported everything is copied for each worker."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work_on.__module__])
    return context


_CONTEXT = _context()


class _Processes(Pool):
    """An executor for each worker, so that the end of one is nothing to the others.

    Args:
        size: how many.
        lifeline: closed, by us or by our end, where they are to end.
    """

    def __init__(self, size: int, lifeline: Connection) -> None:
        self.size, self._lifeline = size, lifeline
        self._free = [self._executor() for _ in range(size)]
        self._busy: dict[Future[Any], ProcessPoolExecutor] = {}

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        executor = self._free.pop()
        future: Future[Any] = executor.submit(function, *arguments)
        self._busy[future] = executor
        return future

    def result(self, future: Future[Any]) -> Any:
        executor = self._busy.pop(future)
        try:
            return future.result()
        except BrokenProcessPool as error:
            executor = self._executor()
            raise WorkerLostError("") from error
        finally:
            self._free.append(executor)

    def _executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, _CONTEXT, initializer=_begin, initargs=(self._lifeline,))


def _begin(lifeline: Connection) -> None:
    """In a worker: whoever asks hears of Ctrl-C, and ends the worker, also by its own end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(1)
