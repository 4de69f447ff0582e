"""From what was asked for to a policy: by name, by the ending of a file's name, by kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.base import Policy, PolicyContext
from imagine_cli.registry import POLICIES, POLICY_FILES, POLICY_KINDS, is_users_own

if TYPE_CHECKING:
    from imagine_cli.policies.parametric import ParametricPolicy

# Each is called as factory(argument, context).
Factory = Callable[[str, PolicyContext], Policy]


def make_policy(spec: Any, context: PolicyContext | EnvDescription, **described: Any) -> Policy:
    """The policy that ``spec`` names.

    Args:
        spec: ``random``, ``zero``, ``constant:0.5,-1``, a planner (``cem``, ``icem``, ``mppi``,
            ``icem:horizon=15,elites=4``), the path of a file of actions (.npy, .csv, .h5), of a
            policy checkpoint (.pt), of Stable-Baselines3 (.zip) or of an exported policy (.pt2,
            .onnx), ``module:function``, which is imported, or ``name`` or ``name:argument`` of a
            policy that another package adds by an entry point in the group
            ``imagine_cli.policies``: a callable ``(argument, context)``. Or an object: a policy,
            or what :class:`~imagine_cli.policies.function.FunctionPolicy` takes.
        context: what it may be made from; or an env's description, with ``described`` being the
            rest of a :class:`~imagine_cli.policies.base.PolicyContext`.

    Returns:
        A policy to act with. The parameters of one that has any don't require gradients here;
        those that :func:`load_policy` returns do.

    Raises:
        InputError: no such policy, or it doesn't suit the env.
    """
    if not isinstance(context, PolicyContext):
        context = PolicyContext(context, **described)
    if context.seed < 0:
        raise InputError(f"the seed is {context.seed}; it must be 0 or more")
    if not isinstance(spec, str):
        from imagine_cli.policies.function import as_policy

        return as_policy(spec, context, getattr(spec, "__name__", type(spec).__name__))
    factory, argument = _find(spec)
    policy = factory(argument, context)
    if not isinstance(policy, Policy):
        raise InputError(
            f"policy {spec!r}: the package that offers it returned a {type(policy).__name__}, "
            "not an imagine_cli.policies.Policy"
        )
    policy.name = spec
    if isinstance(policy, torch.nn.Module):
        policy.requires_grad_(False)
    return policy


def kind_named(kind: Any) -> type[ParametricPolicy] | None:
    """The class of a checkpoint's kind; None for one that nobody has."""
    if not isinstance(kind, str) or kind not in POLICY_KINDS:
        return None
    found: type[ParametricPolicy] = POLICY_KINDS.load(kind)
    return found


def _find(spec: str) -> tuple[Factory, str]:
    name, _, argument = spec.partition(":")
    if name in POLICIES:
        return POLICIES.load(name), argument
    if is_users_own(spec) and not os.path.exists(spec):
        from imagine_cli.policies.function import make

        return make, spec
    ending = os.path.splitext(spec)[1].lower()
    why = ""
    if os.path.isdir(spec):
        why = "that is a folder; "
    elif os.path.exists(spec):
        if ending in POLICY_FILES:
            return POLICY_FILES.load(ending), spec
        why = "the file's name says nothing that is known; "
    elif ending in POLICY_FILES:
        why = "there is no such file; "
    names = ", ".join("constant:..." if name == "constant" else name for name in POLICIES)
    raise InputError(
        f"no policy {spec!r}: {why}use {names}, a .npy/.csv/.h5 file of actions, a .pt, .pt2, "
        ".onnx or Stable-Baselines3's .zip, or module:function of your own"
    )
