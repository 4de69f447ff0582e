"""Real Gymnasium envs: making them, describing their spaces, seeded resets. No torch."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.errors import ImagineError, InputError
from imagine_cli.flattening import flat, names_in
from imagine_cli.importing import current_folder
from imagine_cli.mujoco_warnings import heed_mujoco
from imagine_cli.observation_names import observation_names
from imagine_cli.seeds import Stream, seed_sequence

if TYPE_CHECKING:
    import gymnasium


@dataclass(frozen=True)
class EnvDescription:
    """The sizes and bounds of an env, without the env.

    A continuous action is F numbers between ``action_low`` and ``action_high``. A Discrete or
    MultiDiscrete action is F zeros and ones, one-hot for each of ``choices`` in turn, as torchrl
    encodes it.
    """

    id: str
    kwargs: dict[str, Any]
    observation_size: int
    observation_low: np.ndarray
    observation_high: np.ndarray
    observation_names: list[str]
    action_size: int
    action_low: np.ndarray
    action_high: np.ndarray
    choices: list[int] = field(default_factory=list)
    multi_discrete: bool = False
    observation_dtype: str = "float32"

    @property
    def is_discrete(self) -> bool:
        return bool(self.choices)

    @property
    def action_names(self) -> list[str]:
        """``u0``, ``u1``, ...; of discrete actions ``u0=0``, ``u0=1``, ... for each choice."""
        if not self.choices:
            return [f"u{i}" for i in range(self.action_size)]
        return [f"u{i}={k}" for i, count in enumerate(self.choices) for k in range(count)]

    def encode_action(self, action: Any, batch: tuple[int, ...] = ()) -> np.ndarray:
        """Actions as the env takes them, a ``batch`` or one -> ``(*batch, F)`` float64."""
        if not self.choices:
            return np.asarray(action, dtype=np.float64).reshape(*batch, self.action_size)
        numbers = np.asarray(action, dtype=np.int64).reshape(*batch, len(self.choices))
        codes = [np.eye(n)[numbers[..., i]] for i, n in enumerate(self.choices)]
        return np.concatenate(codes, axis=-1)

    def decode_action(self, code: np.ndarray) -> Any:
        """``(F,)`` -> an action as the env takes it."""
        if not self.choices:
            return np.asarray(code, dtype=np.float32)
        parts = np.split(np.asarray(code), np.cumsum(self.choices)[:-1])
        numbers = np.array([int(np.argmax(part)) for part in parts])
        return numbers if self.multi_discrete else int(numbers[0])


def make_env(env_id: str, kwargs: dict[str, Any] | None = None) -> gymnasium.Env[Any, Any]:
    """``gymnasium.make``, with one sentence for whatever can go wrong.

    ``env_id`` may be ``module:Id``, which imports ``module`` first, from the current folder too.
    Observations that are no flat Box are flattened (:func:`~imagine_cli.flattening.flat`).
    """
    import gymnasium
    from gymnasium.error import DependencyNotInstalled, NameNotFound, UnregisteredEnv

    try:
        with current_folder():
            heed_mujoco(env_id)
            env = gymnasium.make(env_id, **(kwargs or {}))
    except NameNotFound as error:
        raise InputError(f"no env {env_id!r}: {_one_line(error)}") from error
    except UnregisteredEnv as error:
        raise InputError(f"no env {env_id!r}: {_one_line(error)}") from error
    except ModuleNotFoundError as error:
        raise InputError(f"env {env_id!r} needs a module that is missing: {error}") from error
    except DependencyNotInstalled as error:
        hint = "; run: pip install 'imagine-cli[mujoco]'" if "mujoco" in str(error).lower() else ""
        raise InputError(f"env {env_id!r} can't be made: {_one_line(error)}{hint}") from error
    except Exception as error:  # an env's constructor may raise anything at all
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is not None and unknown[1] in (kwargs or {}):
            raise InputError(
                f"env {env_id!r} can't be made: it takes no argument {unknown[1]!r}; leave "
                f"--env-kwarg {unknown[1]}=... out"
            ) from error
        raise InputError(
            f"env {env_id!r} with {kwargs or 'no keyword arguments'} can't be made: "
            f"{type(error).__name__}: {_one_line(error)}"
        ) from error
    try:
        return flat(env, env_id)
    except InputError:
        env.close()
        raise


@contextlib.contextmanager
def opened_env(
    env_id: str, kwargs: dict[str, Any] | None = None
) -> Iterator[tuple[gymnasium.Env[Any, Any], EnvDescription]]:
    """An env and its description, under the id as it was given; closed at the end."""
    env = make_env(env_id, kwargs)
    try:
        yield env, describe(env, kwargs, env_id)
    finally:
        env.close()


def env_named(said: str | None, source: Any, given: str | None) -> str:
    """The env's id: ``given``, or what the file ``source`` has ``said`` where None is given.

    Raises:
        InputError: they are of different envs; neither says one; or the file alone names a module
            that is not imported yet: what a file says is no reason to run code.
    """
    if not said:
        if given is None:
            raise InputError(f"{source} does not say of which env it is; give --env")
        return given
    if given is None and ":" in said and said.partition(":")[0] not in sys.modules:
        raise InputError(
            f"{source} names a module to import, {said!r}; if that may run, give --env {said}"
        )
    if given is not None and not same_env(said, given):
        raise InputError(f"{source} is of {said}, not of {given}")
    return said if given is None else given


def same_env(one: str, other: str) -> bool:
    """Whether two ids are of one env, of which one may name the module that registers it."""
    return one.rpartition(":")[-1] == other.rpartition(":")[-1]


def kwargs_named(
    said: Mapping[str, Any] | None, source: Any, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The env's arguments: those ``given``, and of the others what the file ``source`` has said.

    Raises:
        InputError: the file alone says one that may be a path, or an env in a module: what it
            names is neither opened nor imported.
    """
    found = {**(said or {}), **(given or {})}
    for name, value in found.items():
        if name not in (given or {}) and _may_be_path(value):
            raise InputError(
                f"{source} names a file for its env, {name}={value!r}; if that may be opened, "
                f"give --env-kwarg {name}={value}"
            )
    return found


def _may_be_path(value: Any) -> bool:
    if isinstance(value, Mapping | list):
        parts = [*value, *value.values()] if isinstance(value, Mapping) else value
        return any(map(_may_be_path, parts))
    if not isinstance(value, str):
        return False
    return bool(re.search(r"[/\\~:\0]|^\.|\.[A-Za-z]\w*$", value)) or os.path.exists(value)


def describe(
    env: gymnasium.Env[Any, Any],
    kwargs: dict[str, Any] | None = None,
    env_id: str | None = None,
) -> EnvDescription:
    """The sizes and bounds of an env with a flat Box observation; InputError for any other.

    ``env_id`` is the id that it was asked for by; what the env says of itself if None.
    """
    from gymnasium import spaces

    env_id = env_id or _name(env)
    observation = env.observation_space
    if not isinstance(observation, spaces.Box) or len(observation.shape) != 1:
        raise InputError(
            f"env {env_id!r} has the observation space {observation}; imagine works on a flat Box, "
            "shape (D,): wrap the env in gymnasium.wrappers.FlattenObservation"
        )
    action = env.action_space
    choices: list[int] = []
    if isinstance(action, spaces.Discrete):
        if action.start != 0:
            raise InputError(f"env {env_id!r}: a Discrete action space must start at 0")
        choices = [int(action.n)]
    elif isinstance(action, spaces.MultiDiscrete) and action.nvec.ndim == 1:
        if action.start.any():
            raise InputError(f"env {env_id!r}: a MultiDiscrete action space must start at 0")
        choices = [int(n) for n in action.nvec]
    elif not (isinstance(action, spaces.Box) and len(action.shape) == 1):
        raise InputError(
            f"env {env_id!r} has the action space {action}; imagine works on a flat Box, Discrete "
            "or MultiDiscrete"
        )
    elif not np.issubdtype(action.dtype, np.floating):
        raise InputError(
            f"env {env_id!r} has actions of {action.dtype}; imagine works on real numbers, or on "
            "Discrete or MultiDiscrete choices"
        )
    size = sum(choices) if choices else int(action.shape[0])
    known = observation_names(env_id, int(observation.shape[0]))
    floats = np.issubdtype(observation.dtype, np.floating)
    return EnvDescription(
        id=env_id,
        kwargs=dict(kwargs or {}),
        observation_size=int(observation.shape[0]),
        observation_low=observation.low.astype(np.float64),
        observation_high=observation.high.astype(np.float64),
        observation_names=names_in(env) or known,
        action_size=size,
        action_low=np.zeros(size) if choices else action.low.astype(np.float64),
        action_high=np.ones(size) if choices else action.high.astype(np.float64),
        choices=choices,
        multi_discrete=isinstance(action, spaces.MultiDiscrete),
        observation_dtype=observation.dtype.name if floats else "float32",
    )


def describe_named(env_id: str, kwargs: dict[str, Any] | None = None) -> EnvDescription:
    """As :func:`describe`, of an env that is made for it."""
    with opened_env(env_id, kwargs) as (_, about):
        return about


def reset_seed(seed: int, trajectory: int) -> int:
    """The seed of the real reset that trajectory number ``trajectory`` starts from."""
    return _reset_seed(seed, Stream.RESET, trajectory)


def _reset_seed(seed: int, stream: Stream, number: int) -> int:
    return int(seed_sequence(seed, stream, number).generate_state(1)[0])


def real_resets(
    env: gymnasium.Env[Any, Any], seed: int, first: int, count: int, stream: Stream = Stream.RESET
) -> np.ndarray:
    """The starts of trajectories ``first`` to ``first + count - 1``: ``(count, D)`` float64.

    Each is a reset of the real env with a seed of its own, so that a trajectory's start depends
    on ``seed`` and its number alone.
    """
    seeds = [_reset_seed(seed, stream, first + k) for k in range(count)]
    with env_errors(env):
        starts = [env.reset(seed=each)[0] for each in seeds]
    return np.asarray(starts, dtype=np.float64).reshape(count, -1)


def env_said(
    said: Mapping[str, Any], source: Any, kwargs: Mapping[str, Any] | None
) -> tuple[str, dict[str, Any]]:
    """Id and arguments of the env that the file ``source`` has ``said``, where none is given.

    Raises InputError as :func:`env_named` and :func:`kwargs_named` do.
    """
    found = said.get("kwargs")
    known = found if isinstance(found, Mapping) else None
    return env_named(str(said.get("id") or ""), source, None), kwargs_named(known, source, kwargs)


@contextlib.contextmanager
def env_errors(env: gymnasium.Env[Any, Any]) -> Iterator[None]:
    """Around resets and steps: whatever the env raises is an ImagineError of one sentence."""
    try:
        yield
    except Exception as error:
        raise ImagineError(
            f"env {_name(env)!r} failed with {type(error).__name__}: {_one_line(error)}"
        ) from error


def _name(env: gymnasium.Env[Any, Any]) -> str:
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
