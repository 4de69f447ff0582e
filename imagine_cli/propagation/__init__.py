"""How a belief goes through a world model: one propagation a file.

:mod:`~imagine_cli.propagation.registry` names them and finds one that fits a model;
:class:`~imagine_cli.propagation.base.Propagation` says what each of them answers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagine_cli.propagation.base import Propagation as Propagation
    from imagine_cli.propagation.registry import fitting as fitting
    from imagine_cli.propagation.registry import make_propagation as make_propagation
    from imagine_cli.propagation.registry import propagations as propagations

_HOME = {
    "Propagation": "imagine_cli.propagation.base",
    "fitting": "imagine_cli.propagation.registry",
    "make_propagation": "imagine_cli.propagation.registry",
    "propagations": "imagine_cli.propagation.registry",
}

__all__ = ["Propagation", "fitting", "make_propagation", "propagations"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
