"""Whether what was made of some tensors is still true of them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

# A tensor, how often it was written to, and where its numbers are.
Versions = list[tuple[Tensor, int, int]]


def versions_of(parts: Iterable[Tensor]) -> Versions:
    """The tensors as they are now. Those made in inference mode don't tell when written to."""
    return [(x, 0 if x.is_inference() else x._version, x.data_ptr()) for x in parts]


def unchanged(now: Versions, before: Versions) -> bool:
    """Whether they are the same tensors with the same numbers."""
    return len(now) == len(before) and all(
        a[0] is b[0] and a[1:] == b[1:] for a, b in zip(now, before, strict=True)
    )
