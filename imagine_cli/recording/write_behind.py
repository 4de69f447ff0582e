"""Work done in another thread, in its order, so that who hands it over needn't wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

__all__ = ["WriteBehind"]


class WriteBehind:
    """A queue of calls and the thread that makes them.

    Args:
        room: how many bytes the calls that wait may hold together; :meth:`put` waits beyond it.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._calls: deque[tuple[int, Callable[[], None]]] = deque()
        self._held = 0
        self._error: BaseException | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    def put(self, size: int, call: Callable[[], None]) -> None:
        """Have ``call``, which holds so many bytes, made after those before it.

        Raises what one of those raised; none after it is made.
        """
        with self._changed:
            while self._held and self._held + size > self._room and self._error is None:
                self._changed.wait()
            self._raise()
            self._calls.append((size, call))
            self._held += size
            self._changed.notify_all()

    def end(self) -> None:
        """Wait until every call is made, and end the thread. Raises what one of them raised."""
        self._finish()
        self._raise()

    def drop(self) -> None:
        """End the thread after the call that it is at; those that wait are not made."""
        with self._changed:
            self._calls.clear()
        self._finish()

    def _finish(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._calls and not self._ended:
                    self._changed.wait()
                if not self._calls:
                    return
                size, call = self._calls.popleft()
            try:
                call()
            except BaseException as error:  # it is the other thread's to raise
                with self._changed:
                    self._error = error
                    self._calls.clear()
            del call  # and the numbers that it holds
            with self._changed:
                self._held -= size
                if self._error is not None:
                    self._held = 0
                self._changed.notify_all()
