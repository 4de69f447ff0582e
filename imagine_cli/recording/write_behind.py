"""Work done in another thread, in its order, so that who hands it over needn't wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["WriteBehind"]


class WriteBehind:
    """A queue of calls and the thread that makes them.

    Whatever a signal's handler raises in the thread that waits here, this one goes on as it was,
    and :meth:`end` and :meth:`drop` keep their word when they are called again. Hence the simple
    queues: an exception can leave a lock of :mod:`threading` held for ever, and makes
    ``Thread.join`` take a thread that runs for one that ended (CPython issue 90882).

    Args:
        room: how many bytes the calls that wait may hold together; :meth:`put` waits beyond it.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._held = 0
        self._calls: SimpleQueue[tuple[int, Callable[[], None]] | None] = SimpleQueue()
        self._freed: SimpleQueue[int] = SimpleQueue()
        self._error: BaseException | None = None
        self._dropped = self._ended = False
        threading.Thread(target=self._work, name="recording", daemon=True).start()

    def put(self, size: int, call: Callable[[], None]) -> None:
        """Have ``call``, which holds so many bytes, made after those before it.

        Raises what one of those raised; none after it is made.
        """
        while self._held and self._held + size > self._room and self._error is None:
            self._held -= self._freed.get()
        self._raise()
        self._held += size
        self._calls.put((size, call))

    def end(self) -> None:
        """Wait until every call is made, and end the thread. Raises what one of them raised."""
        self._calls.put(None)
        while not self._ended:
            self._freed.get()
        self._raise()

    def drop(self) -> None:
        """End the thread after the call that it is at; those that wait are not made."""
        self._dropped = True
        self._calls.put(None)
        while not self._ended:
            self._freed.get()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (waiting := self._calls.get()) is not None:
            size, call = waiting
            try:
                if not self._dropped and self._error is None:
                    call()
            except BaseException as error:  # it is the other thread's to raise
                self._error = error
            del waiting, call  # and the numbers that it holds
            self._freed.put(size)
        self._ended = True
        self._freed.put(0)
