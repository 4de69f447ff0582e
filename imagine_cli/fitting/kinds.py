"""The kinds of world model that can be fitted: one file each, one line here each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.fitting.collect import Transitions
from imagine_cli.fitting.progress import Progress
from imagine_cli.fitting.split import Split
from imagine_cli.world_models.base import WorldModel

__all__ = ["Fit", "Kind", "Marginals", "fitter"]

_KINDS = {
    "gp": "imagine_cli.fitting.gaussian_process",
}

Marginals = Callable[[Transitions], tuple[np.ndarray, np.ndarray]]
"""Transitions -> mean and variance ``(N, D)`` each of their next observations."""


@dataclass(frozen=True)
class Fit:
    """What fitting a kind gives.

    Attributes:
        model: the world model.
        summary: what goes into the checkpoint's metadata: plain data.
        marginals: the model's one-step predictions from points, where there is a faster way to
            them than its ``predict``.
    """

    model: WorldModel
    summary: dict[str, Any]
    marginals: Marginals | None = None


class Kind(Protocol):
    """What the module of a kind has."""

    def require(self) -> None:
        """Raises MissingExtraError where a library it needs is not installed."""

    def fit(self, data: Split, *, points: int, restarts: int, seed: int, progress: Progress) -> Fit:
        """Fit to ``data.training``, calibrate on ``data.calibration``, leave the rest alone."""


def fitter(kind: str) -> Kind:
    """The module that fits a kind; InputError for one that nobody has."""
    if kind not in _KINDS:
        raise InputError(f"no kind of world model {kind!r} to fit; there is {', '.join(_KINDS)}")
    module: Any = import_module(_KINDS[kind])
    found: Kind = module
    return found
