"""Something remarkable in a rollout."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Finding"]


class Finding(NamedTuple):
    """``kind`` is a short fixed word for programs, ``message`` a sentence for people."""

    kind: str
    message: str
