"""From recordings to the transitions of one env."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from imagine_cli.environments import EnvDescription, env_named, kwargs_named
from imagine_cli.errors import InputError
from imagine_cli.transitions.actions import encode
from imagine_cli.transitions.recording import Recording
from imagine_cli.transitions.transitions import Transitions

# A transition follows the one before where it starts, to this part of the largest number there
# is, where that ended: float32 beside float64 is no gap.
_SAME = 1e-6


def env_of(
    recordings: list[Recording], env_id: str | None, env_kwargs: dict[str, Any] | None
) -> tuple[str, dict[str, Any]]:
    """The env's id and arguments: those given, else those that the recordings say.

    Raises:
        InputError: nobody says, or they don't agree, or it is in a module, or made from a file,
            that only the data name: what is imported or opened is said by the user.
    """
    for each in recordings:
        if each.env_id is not None:
            env_id = env_named(each.env_id, each.path, env_id)
    if env_id is None:
        raise InputError(f"{recordings[0].path} does not say of which env it is; give --env")
    arguments = [
        kwargs_named(each.env_kwargs, each.path, env_kwargs)
        for each in recordings
        if each.env_kwargs is not None
    ]
    if any(some != arguments[0] for some in arguments):
        raise InputError(
            f"the data are of {env_id} with different arguments: "
            f"{' and '.join(str(some) for some in arguments)}; fit to one of them at a time, or "
            "say with --env-kwarg which to take"
        )
    return env_id, arguments[0] if arguments else dict(env_kwargs or {})


def join(
    recordings: list[Recording], env: EnvDescription, *, reward: bool, steps: int | None = None
) -> Transitions:
    """All transitions one after another; the first ``steps`` of them where that is given.

    Episodes are numbered anew. One also ends wherever a transition does not start where the one
    before it ended: what follows was recorded elsewhere. Rewards that nobody has are NaN.

    Raises:
        InputError: other sizes than the env's, numbers that are not finite, no rewards where
            ``reward`` wants them, or fewer transitions than ``steps``.
    """
    parts = [_transitions(each, env, reward) for each in recordings]
    offsets = np.cumsum([0, *(int(part.episode[-1]) + 1 for part in parts[:-1])])
    numbered = [
        replace(part, episode=part.episode + offset)
        for part, offset in zip(parts, offsets, strict=True)
    ]
    names = [field.name for field in fields(Transitions)]
    joined = Transitions(*(np.concatenate([getattr(x, name) for x in numbered]) for name in names))
    if steps is None:
        return joined
    if steps > len(joined):
        raise InputError(f"the data have {len(joined)} transitions and --steps asks for {steps}")
    return joined[:steps]


def _transitions(data: Recording, env: EnvDescription, reward: bool) -> Transitions:
    for name in ("observations", "next_observations"):
        shape = getattr(data, name).shape
        if shape != (len(data), env.observation_size):
            raise InputError(
                f"{data.path}: {name} have the shape {shape}, but an observation of {env.id} is "
                f"{env.observation_size} numbers: ({len(data)}, {env.observation_size})"
            )
    if reward and data.rewards is None:
        raise InputError(f"{data.path} has no rewards; leave out --reward")
    observations = data.observations.astype(np.float64)
    following = data.next_observations.astype(np.float64)
    checked = [("observation", observations), ("next observation", following)]
    if reward and data.rewards is not None:
        checked.append(("reward", data.rewards[:, None]))
    for name, numbers in checked:
        lost = ~np.isfinite(numbers).all(axis=1)
        if lost.any():
            where = data.place(int(np.argmax(lost)))
            raise InputError(f"{data.path}: the {name} at {where} is not finite")
    try:
        actions = encode(data.actions, env, data.place)
    except InputError as error:
        raise InputError(f"{data.path}: {error}") from error
    rewards = np.full(len(data), np.nan) if data.rewards is None else data.rewards
    return Transitions(
        observations=observations,
        actions=actions,
        next_observations=following,
        rewards=rewards.astype(np.float64),
        episode=_episodes(observations, following, data.episode),
    )


def _episodes(
    observations: np.ndarray, following: np.ndarray, given: np.ndarray | None
) -> np.ndarray:
    """0, 0, ..., 1, ...: another number where ``given`` has one, or where there is a gap."""
    slack = _SAME * np.abs(observations).max(axis=0)
    begins = (np.abs(following[:-1] - observations[1:]) > slack).any(axis=1)
    if given is not None:
        begins |= given[1:] != given[:-1]
    return np.concatenate([[0], np.cumsum(begins)])
