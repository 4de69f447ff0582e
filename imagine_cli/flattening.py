"""Observations of any space as a vector: Gymnasium's own flattening, and a name for each number."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.errors import InputError, Remark

if TYPE_CHECKING:
    import gymnasium

LARGEST = 2000
"""The most numbers of an observation: a covariance of as many squared is 32 MB."""


def flat(env: gymnasium.Env[Any, Any], env_id: str) -> gymnasium.Env[Any, Any]:
    """The env with observations ``(D,)``, by ``gymnasium.spaces.utils.flatten`` where they aren't.

    A Remark says so.

    Raises:
        InputError: a space that can't be flattened, or an observation of more numbers than
            :data:`LARGEST`.
    """
    from gymnasium import spaces
    from gymnasium.wrappers import FlattenObservation

    space = env.observation_space
    try:
        size = spaces.flatdim(space)
    except (NotImplementedError, ValueError) as error:
        raise InputError(
            f"env {env_id!r} has the observation space {space}, which has no fixed size; imagine "
            "works on what gymnasium.spaces.flatten makes a vector of"
        ) from error
    if size > LARGEST:
        raise InputError(
            f"env {env_id!r} has observations of {_shape(space)} = {size} numbers, and imagine "
            f"works on vectors of up to {LARGEST}; register a wrapper that gives features of "
            "them (a state, an encoder's output), and give --env module:Id"
        )
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return env
    warnings.warn(
        f"the observations of {env_id}, {_shape(space)}, are flattened to {size} numbers",
        Remark,
        stacklevel=2,
    )
    return FlattenObservation(env)


def names_in(env: gymnasium.Env[Any, Any]) -> list[str]:
    """The name of each number, from the space that was flattened; none where none was.

    Of a part ``goal`` of a Dict ``goal[0]``, ``goal[1]``, ...; of a Discrete one ``goal=0``,
    ``goal=1``, ...; what has no name is ``x``.
    """
    from gymnasium.wrappers import FlattenObservation

    if not isinstance(env, FlattenObservation):
        return []
    return _names(env.env.observation_space, "")


def _names(space: Any, name: str) -> list[str]:
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        dot = f"{name}." if name else ""
        return [each for key, part in space.items() for each in _names(part, f"{dot}{key}")]
    name = name or "x"
    if isinstance(space, spaces.Tuple):
        return [each for i, part in enumerate(space) for each in _names(part, f"{name}[{i}]")]
    if isinstance(space, spaces.Discrete):
        return [f"{name}={space.start + k}" for k in range(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        starts, counts = space.start.flatten(), space.nvec.flatten()
        return [
            f"{name}[{i}]={start + k}"
            for i, (start, count) in enumerate(zip(starts, counts, strict=True))
            for k in range(count)
        ]
    shape = space.shape
    if not isinstance(space, spaces.Box | spaces.MultiBinary):
        shape = (spaces.flatdim(space),)
    if shape == ():
        return [name]
    return [f"{name}[{','.join(map(str, place))}]" for place in np.ndindex(*shape)]


def _shape(space: Any) -> str:
    """``Dict(goal (2,), cell Discrete(4))``, ``Box (96, 96, 3)``, ``Discrete(16)``."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return f"Dict({', '.join(f'{key} {_shape(part)}' for key, part in space.items())})"
    if isinstance(space, spaces.Tuple):
        return f"Tuple({', '.join(map(_shape, space))})"
    if isinstance(space, spaces.Box):
        return f"Box {space.shape}"
    return str(space)
