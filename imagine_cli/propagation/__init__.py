"""How a belief goes through a world model: one way a file, one line each here.

:func:`make_propagation` finds one by name; :class:`~imagine_cli.propagation.base.Propagation` says
what each of them answers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagine_cli.propagation.base import Propagation as Propagation
    from imagine_cli.propagation.registry import make_propagation as make_propagation

_WAYS = {
    "moments": "imagine_cli.propagation.moments:Moments",
    "linearized": "imagine_cli.propagation.linearized:Linearized",
    "unscented": "imagine_cli.propagation.unscented:Unscented",
    "particles": "imagine_cli.propagation.particles:Particles",
}

_HOME = {
    "Propagation": "imagine_cli.propagation.base",
    "make_propagation": "imagine_cli.propagation.registry",
}

__all__ = ["Propagation", "make_propagation", "propagations"]


def propagations() -> dict[str, str]:
    """Every way's name and where it is, ``module:class``."""
    return dict(_WAYS)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
