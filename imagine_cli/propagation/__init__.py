"""How a belief goes through a world model: one propagation a file.

:mod:`~imagine_cli.propagation.registry` names them and finds one that fits a model;
:class:`~imagine_cli.propagation.base.Propagation` says what each of them answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.lazy import lazy_names

if TYPE_CHECKING:
    from imagine_cli.propagation.base import Propagation as Propagation
    from imagine_cli.propagation.registry import fitting as fitting
    from imagine_cli.propagation.registry import make_propagation as make_propagation

_HOME = {"Propagation": "base", "fitting": "registry", "make_propagation": "registry"}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
