"""From recordings to the transitions of one env."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.fitting.collect import Transitions
from imagine_cli.fitting.data.actions import encode
from imagine_cli.fitting.data.recording import Recording

__all__ = ["env_of", "join"]

# A transition follows the one before where it starts, to this part of the largest number there
# is, where that ended: float32 beside float64 is no gap.
_SAME = 1e-6


def env_of(
    recordings: list[Recording], env_id: str | None, env_kwargs: dict[str, Any] | None
) -> tuple[str, dict[str, Any]]:
    """The env's id and arguments: those given, else those that the recordings say.

    Raises:
        InputError: nobody says, or they don't agree, or it is in a module that only the data name:
            what is imported is said by the user.
    """
    known = [(env_id, Path("--env"))] if env_id is not None else []
    known += [(each.env_id, each.path) for each in recordings if each.env_id is not None]
    if not known:
        raise InputError(f"{recordings[0].path} does not say of which env it is; give --env")
    first, source = known[0]
    if ":" in first and env_id is None:
        raise InputError(f"{source} names a module to import, {first!r}; if so, give --env")
    for said, path in known[1:]:
        if _name(said) != _name(first):
            raise InputError(f"{path} is of {said}, not of {first}")
    if env_kwargs:
        return first, dict(env_kwargs)
    arguments = [each.env_kwargs for each in recordings if each.env_kwargs is not None]
    if any(some != arguments[0] for some in arguments):
        raise InputError(
            f"the data are of {first} with different arguments: "
            f"{' and '.join(str(some) for some in arguments)}; fit to one of them at a time, or "
            "say with --env-kwarg which to take"
        )
    return first, dict(arguments[0]) if arguments else {}


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
    episode = [part.episode + offset for part, offset in zip(parts, offsets, strict=True)]
    joined = Transitions(
        observations=np.concatenate([part.observations for part in parts]),
        actions=np.concatenate([part.actions for part in parts]),
        next_observations=np.concatenate([part.next_observations for part in parts]),
        rewards=np.concatenate([part.rewards for part in parts]),
        episode=np.concatenate(episode),
    )
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


def _name(env_id: str) -> str:
    """Without the module that ``module:Id`` imports."""
    return env_id.rsplit(":", 1)[-1]
