"""Policies: one a file, one line each in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.lazy import lazy_names

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

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
