"""Policies of the user's own: ``module:function``, and objects given in Python."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from tensordict import TensorDict
from tensordict.nn import InteractionType, set_interaction_type
from torch import Tensor

from imagine_cli.belief import point
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.policies.base import Policy, PolicyContext
from imagine_cli.policies.exported import as_codes
from imagine_cli.policies.pointwise import PointPolicy
from imagine_cli.registry import named_by_user
from imagine_cli.world_models.batch_invariant import BatchInvariantProducts
from imagine_cli.world_models.module import declared_dtype


class Actions(torch.nn.Module):
    """Any policy as a module from observations ``(N, D)`` to actions.

    Args:
        policy: a policy of ours; a TensorDictModule that reads ``"observation"`` and writes
            ``"action"``, taken in its deterministic mode; or a function of observations.
    """

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Tensor) -> Tensor:
        policy: Any = self.policy
        if isinstance(policy, PointPolicy):
            return policy.respond_at(observation)
        if not hasattr(policy, "out_keys"):
            found: Tensor = policy(observation)
            return found
        with set_interaction_type(InteractionType.DETERMINISTIC):
            given = TensorDict({"observation": observation}, observation.shape[:1])
            action: Tensor = policy(given).get("action")
        return action


class FunctionPolicy(PointPolicy):
    """A function or module of the user's from observations ``(N, D)`` to actions.

    Actions are as an :class:`~imagine_cli.policies.exported.ExportedPolicy`'s. It is asked in the
    dtype that a module has, else in that of the beliefs, and differentiated for beliefs.

    Raises:
        InputError: it gives no such actions at two observations, or has no derivative.
    """

    def __init__(self, function: Any, context: PolicyContext, name: str) -> None:
        super().__init__()
        env = context.env
        self.name, self._choices = name, list(env.choices)
        self.observation_size, self.action_size = env.observation_size, env.action_size
        self.gives_variance = not env.is_discrete
        self._dtype = None
        if isinstance(function, torch.nn.Module):  # the user's own stays as it is
            self._dtype = declared_dtype(function)
            function = deepcopy(function).to(context.device).eval()
        self._actions = Actions(function)
        x = torch.zeros(2, self.observation_size, dtype=context.dtype, device=context.device)
        try:
            with torch.no_grad():
                self(point(x))
        except ImagineError as error:
            raise InputError(str(error)) from error

    def respond_at(self, x: Tensor) -> Tensor:
        try:
            with BatchInvariantProducts():
                u = self._actions(x.to(self._dtype or x.dtype))
            u = as_codes(u, self._choices).to(x.dtype)
        except Exception as error:  # a user's function may raise anything at all
            raise ImagineError(
                f"policy {self.name!r} failed at observations {tuple(x.shape)} with "
                f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            ) from error
        if u.shape != (len(x), self.action_size):
            raise InputError(
                f"policy {self.name!r} gave actions {tuple(u.shape)} at observations "
                f"{tuple(x.shape)}, not {(len(x), self.action_size)}"
            )
        return u


def as_policy(given: Any, context: PolicyContext, name: str) -> Policy:
    """A policy of ours as it is; of a class, an instance; of anything callable, what it says.

    Raises InputError for anything else.
    """
    if isinstance(given, type):
        try:
            given = given()
        except Exception as error:  # a user's class may raise anything at all
            raise InputError(
                f"policy {name!r} can't be made without arguments: {type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
    if isinstance(given, Policy):
        return given
    if not callable(given):
        raise InputError(
            f"policy {name!r} is {type(given).__name__}, not a function of observations (N, D)"
        )
    return FunctionPolicy(given, context, name)


def make(argument: str, context: PolicyContext) -> Policy:
    """``module:name``, which is imported."""
    return as_policy(named_by_user(argument, "policy"), context, argument)
