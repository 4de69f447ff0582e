"""The policies that a search begins with: ``linear``, ``rbf:50``, ``mlp:64,64``, or a file's."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import Belief
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.memory import check_memory
from imagine_cli.policies.actions import symmetric_bounds
from imagine_cli.policies.checkpoint import load_policy
from imagine_cli.policies.linear import LinearPolicy
from imagine_cli.policies.mlp import MLPPolicy
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.policies.rbf import RBFPolicy
from imagine_cli.seeds import Stream, seed_sequence

# Of the weights: small, so that the first actions are, and not all alike.
_SPREAD = 0.1
# Bounds of an observation beyond it say nothing of where an env goes.
_FAR = 1e3


def initial_policy(
    spec: str,
    env: EnvDescription,
    belief: Belief,
    *,
    states: Tensor | None = None,
    seed: int = 0,
    restart: int = 0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> ParametricPolicy:
    """A policy whose parameters are to be searched for.

    ``linear``: ``u = m sin(W x + b)``, W and b small and random. ``rbf:N``: PILCO's, N
    centers drawn in turn from the initial beliefs, from ``states`` and from between the bounds of
    the observation where it has any (what is to be reached may be far from both), small random
    weights, and length-scales ``√D`` times the standard deviations of all those. ``mlp:64,64``:
    layers of these sizes, ``tanh`` in between and at the end. All squash their actions into the
    env's bounds; the first two don't where it has none at all. A ``.pt`` file is a policy to go on
    from.

    Args:
        spec: one of these; ``rbf`` is ``rbf:50``, ``mlp`` is ``mlp:64,64``.
        env: whose actions it gives, which are continuous.
        belief: where imagination begins, ``(B, D)`` and ``(B, D, D)``.
        states: others that it is to act in, ``(K, D)``.
        seed, restart: what is random depends on both.
        dtype, device: of the parameters.

    Raises:
        InputError: no such policy, or one that does not suit the env.
    """
    check_policy(spec, env)
    if is_file(spec):
        return load_policy(spec, env, dtype=dtype, device=device)
    draw = np.random.Generator(np.random.Philox(seed_sequence(seed, Stream.SEARCH_POLICY, restart)))
    name, _, argument = spec.partition(":")
    policy: ParametricPolicy = _MAKE[name](argument, env, belief, states, draw)
    policy.name = spec
    policy.to(device=device, dtype=dtype)
    return policy


def is_file(spec: str) -> bool:
    """Whether a spec is the path of a policy."""
    return spec.endswith((".pt", ".pth"))


def check_policy(spec: str, env: EnvDescription) -> None:
    """InputError where a spec is none, or does not suit the env, as far as that is seen by it."""
    if env.is_discrete:
        raise InputError(
            f"the actions of env {env.id!r} are discrete, and gradients need continuous ones"
        )
    if is_file(spec):
        if not Path(spec).is_file():
            raise InputError(f"no policy {spec!r}: there is no such file")
        return
    name, colon, argument = spec.partition(":")
    if name not in _MAKE or (name == "linear" and colon):
        raise InputError(
            f"no policy {spec!r} to search for; use linear, rbf:50 (so many basis functions), "
            "mlp:64,64 (layers of these sizes) or a .pt policy to go on from"
        )
    if name != "linear":
        sizes = _sizes(spec, argument if colon else "1", 1 if name == "rbf" else None)
        layers = [env.observation_size, *sizes, env.action_size]
        # The parameters, their gradient, and what a search remembers of both.
        check_memory(4 * sum(n * m for n, m in pairwise(layers)), f"the parameters of {spec!r}")
    bounds = np.stack([env.action_low, env.action_high])
    if name == "mlp" and not np.isfinite(bounds).all():
        raise InputError(f"policy {spec!r} squashes its actions into bounds, and env {env.id!r} "
                         "doesn't have any; use linear or rbf:50")  # fmt: skip
    if name != "mlp" and np.isfinite(bounds).any() and symmetric_bounds(env) is None:
        raise InputError(
            f"policy {spec!r} squashes its actions into symmetric bounds, and those of env "
            f"{env.id!r} are {list(env.action_low)} to {list(env.action_high)}; use mlp:64,64"
        )


def _sizes(spec: str, argument: str, count: int | None = None) -> list[int]:
    numbers = argument.split(",")
    if not all(n.strip().isdecimal() and int(n) > 0 for n in numbers) or (
        count is not None and len(numbers) != count
    ):
        raise InputError(f"policy {spec!r}: {argument!r} is no size; use rbf:50 or mlp:64,64")
    return [int(number) for number in numbers]


def _linear(
    argument: str, env: EnvDescription, belief: Belief, states: Tensor | None,
    draw: np.random.Generator,
) -> ParametricPolicy:  # fmt: skip
    weight = _SPREAD * draw.standard_normal((env.action_size, env.observation_size))
    bias = np.zeros(env.action_size)
    return LinearPolicy(torch.from_numpy(weight), torch.from_numpy(bias), _bounds(env))


def _rbf(
    argument: str, env: EnvDescription, belief: Belief, states: Tensor | None,
    draw: np.random.Generator,
) -> ParametricPolicy:  # fmt: skip
    count = int(argument or "50")
    own = _drawn(belief, 256, draw)
    pools = [own, *([] if states is None or not len(states) else [states.double().cpu().numpy()])]
    low, high = env.observation_low, env.observation_high
    if np.abs([low, high]).max() < _FAR:
        pools.append(draw.uniform(low, high, own.shape))
    centers = np.stack([draw.choice(pools[k % len(pools)]) for k in range(count)])
    spread = np.concatenate(pools).std(0)
    scales = env.observation_size**0.5 * np.where(spread > 0.0, spread, 1.0)
    weights = _SPREAD * draw.standard_normal((count, env.action_size))
    return RBFPolicy(
        torch.from_numpy(centers), torch.from_numpy(weights), torch.from_numpy(scales), _bounds(env)
    )


def _mlp(
    argument: str, env: EnvDescription, belief: Belief, states: Tensor | None,
    draw: np.random.Generator,
) -> ParametricPolicy:  # fmt: skip
    policy = MLPPolicy(env, [int(size) for size in (argument or "64,64").split(",")])
    parameters = list(policy.parameters())
    with torch.no_grad():
        for k, parameter in enumerate(parameters):
            fan_in = parameters[k - k % 2].shape[1]
            reach = fan_in**-0.5 if k < len(parameters) - 2 else _SPREAD * fan_in**-0.5
            parameter.copy_(torch.from_numpy(draw.uniform(-reach, reach, parameter.shape)))
    return policy


Make = Callable[
    [str, EnvDescription, Belief, "Tensor | None", np.random.Generator], ParametricPolicy
]
_MAKE: dict[str, Make] = {"linear": _linear, "rbf": _rbf, "mlp": _mlp}


def _bounds(env: EnvDescription) -> Tensor | None:
    bounds = symmetric_bounds(env)
    return None if bounds is None else torch.as_tensor(bounds, dtype=torch.float64)


def _drawn(belief: Belief, count: int, draw: np.random.Generator) -> np.ndarray:
    """``count`` points, from one of the beliefs after the other: ``(count, D)``."""
    mean, var = (part.double().cpu().numpy() for part in belief)
    values, vectors = np.linalg.eigh(var)
    roots = vectors * np.sqrt(values.clip(0.0))[:, None, :]
    rows = np.arange(count) % len(mean)
    standard = draw.standard_normal((count, mean.shape[1]))
    return np.asarray(mean[rows] + (roots[rows] @ standard[..., None])[..., 0])
