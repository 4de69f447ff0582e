"""Searches side by side, whose questions are answered in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class _Stopped(Exception):
    """What a search that is waiting gets where another one, or the user, has ended all."""


def in_lockstep(
    search: Callable[[int, Callable[[Any], Any], Callable[[Any], None]], _Result],
    count: int,
    answer: Callable[[list[Any]], Sequence[Any]],
    tell: Callable[[int, Any], None],
) -> list[_Result]:
    """``search(k, ask, tell)`` of k = 0, 1, ..., each on a thread that asks and is answered.

    An optimiser calls what it minimises, and each has its own course: so each gets a thread. They
    are asked to wait until all that are not done wait; then ``answer`` gets their questions at
    once, in the order of k. It and ``tell`` are called here, on one thread.
    """
    said: SimpleQueue[tuple[int, str, Any]] = SimpleQueue()
    answers: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(count)]

    def run(k: int) -> _Result:
        def ask(question: Any) -> Any:
            said.put((k, "ask", question))
            found = answers[k].get()
            if isinstance(found, _Stopped):
                raise found
            return found

        try:
            return search(k, ask, lambda what: said.put((k, "tell", what)))
        finally:
            said.put((k, "done", None))

    going, asked = set(range(count)), dict[int, Any]()
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run, k) for k in range(count)]
        try:
            while going:
                k, kind, what = said.get()
                if kind == "tell":
                    tell(k, what)
                elif kind == "ask":
                    asked[k] = what
                else:
                    going.remove(k)
                if going and len(asked) == len(going):
                    numbers = sorted(asked)
                    found = answer([asked.pop(number) for number in numbers])
                    for number, one in zip(numbers, found, strict=True):
                        answers[number].put(one)
        except BaseException:
            for one in answers:
                one.put(_Stopped())
            raise
        return [future.result() for future in futures]
