"""Work shared out among threads of Python: compiled functions let the interpreter go."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from imagine_cli.threads import IDLE

__all__ = ["together"]


def together(works: Sequence[Callable[[], None]]) -> None:
    """Each of ``works`` on a thread of its own, the first of them on this one."""
    others = [_pool(len(works) - 1).submit(work) for work in works[1:]]
    works[0]()
    for other in others:
        other.result()


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix=IDLE)


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
