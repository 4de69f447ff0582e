"""From what was asked for to a policy: by name, by the ending of a file's name, by kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import torch

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.base import Policy, PolicyContext

if TYPE_CHECKING:
    from imagine_cli.policies.parametric import ParametricPolicy

__all__ = ["kind_named", "make_policy"]

# Each is called as factory(argument, context).
Factory = Callable[[str, PolicyContext], Policy]

_NAMES = {
    "random": "imagine_cli.policies.random_actions:make",
    "zero": "imagine_cli.policies.zero:make",
    "constant": "imagine_cli.policies.constant:make",
}

_FILES = {
    ".npy": "imagine_cli.policies.replay:make",
    ".csv": "imagine_cli.policies.replay:make",
    ".h5": "imagine_cli.policies.replay:make",
    ".hdf5": "imagine_cli.policies.replay:make",
    ".pt": "imagine_cli.policies.checkpoint:make",
    ".pth": "imagine_cli.policies.checkpoint:make",
}

_KINDS = {
    "linear": "imagine_cli.policies.linear:LinearPolicy",
    "rbf": "imagine_cli.policies.rbf:RBFPolicy",
    "mlp": "imagine_cli.policies.mlp:MLPPolicy",
}

_GROUP = "imagine_cli.policies"


def make_policy(spec: str, context: PolicyContext | EnvDescription, **described: Any) -> Policy:
    """The policy that ``spec`` names.

    Args:
        spec: ``random``, ``zero``, ``constant:0.5,-1``, the path of a file of actions (.npy,
            .csv, .h5) or of a policy checkpoint (.pt), or ``name`` or ``name:argument`` of a
            policy that another package adds by an entry point in the group
            ``imagine_cli.policies``: a callable ``(argument, context)``.
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
    where = _KINDS.get(kind) if isinstance(kind, str) else None
    return None if where is None else _resolve(where)


def _find(spec: str) -> tuple[Factory, str]:
    name, _, argument = spec.partition(":")
    if name in _NAMES:
        return _resolve(_NAMES[name]), argument
    others = {point.name: point for point in entry_points(group=_GROUP)}
    if name in others:
        return _load(others[name]), argument
    where = _FILES.get(os.path.splitext(spec)[1].lower())
    if os.path.isdir(spec):
        raise InputError(f"no policy {spec!r}: that is a folder; {_possible(others)}")
    if where is None and os.path.exists(spec):
        raise InputError(
            f"no policy {spec!r}: the file's name says nothing that is known; {_possible(others)}"
        )
    if where is None:
        raise InputError(f"no policy {spec!r}: {_possible(others)}")
    if not os.path.exists(spec):
        raise InputError(f"no policy {spec!r}: there is no such file; {_possible(others)}")
    return _resolve(where), spec


def _possible(others: dict[str, EntryPoint]) -> str:
    names = ", ".join(["random", "zero", "constant:...", *sorted(others)])
    return f"use {names}, a .npy/.csv/.h5 file of actions, or a .pt policy checkpoint"


def _resolve(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(import_module(module), attribute)


def _load(point: EntryPoint) -> Factory:
    try:
        factory: Factory = point.load()
    except Exception as error:  # another package's import may raise anything at all
        raise InputError(
            f"policy {point.name!r} of {point.value} can't be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    return factory
