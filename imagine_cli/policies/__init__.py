"""Policies: one a file, one line each in the registry."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagine_cli.policies.base import Policy as Policy
    from imagine_cli.policies.checkpoint import load_policy as load_policy
    from imagine_cli.policies.checkpoint import save_policy as save_policy
    from imagine_cli.policies.linear import LinearPolicy as LinearPolicy
    from imagine_cli.policies.mlp import MLPPolicy as MLPPolicy
    from imagine_cli.policies.rbf import RBFPolicy as RBFPolicy
    from imagine_cli.policies.registry import make_policy as make_policy

_HOME = {
    "LinearPolicy": "linear",
    "MLPPolicy": "mlp",
    "Policy": "base",
    "RBFPolicy": "rbf",
    "load_policy": "checkpoint",
    "make_policy": "registry",
    "save_policy": "checkpoint",
}

__all__ = [
    "LinearPolicy",
    "MLPPolicy",
    "Policy",
    "RBFPolicy",
    "load_policy",
    "make_policy",
    "save_policy",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
