"""All that imagine reads of a file by a stranger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from imagine_cli.cli.inspect import inspect
from imagine_cli.environments import EnvDescription, describe, make_env
from imagine_cli.errors import InputError
from imagine_cli.policies import load_policy
from imagine_cli.policies.action_files import open_actions
from imagine_cli.recording import open_rollout
from imagine_cli.rollout.starts import make_start

__all__ = ["read_checkpoint_file", "read_rollout_file"]

_ENV: list[EnvDescription] = []


def _env() -> EnvDescription:
    if not _ENV:
        _ENV.append(describe(make_env("Pendulum-v1")))
    return _ENV[0]


def read_checkpoint_file(path: Path) -> None:
    """``imagine inspect``, both ways, and as a policy. Raises what it raises."""
    _all(
        lambda: inspect(path),
        lambda: inspect(path, json=True),
        lambda: load_policy(path, _env()),
    )


def read_rollout_file(path: Path) -> None:
    """``imagine inspect``, every number, and as the actions and the starts of a rollout."""
    _all(
        lambda: inspect(path),
        lambda: inspect(path, json=True, step=1),
        lambda: _numbers(path),
        lambda: _actions(path),
        lambda: make_start(str(path), None, _env(), seed=0, count=1)(0, 1),
    )


def _all(*reads: Callable[[], object]) -> None:
    """Each of them, whatever comes of the others; InputError where all of them raise it."""
    refused: list[InputError] = []
    for read in reads:
        try:
            read()
        except InputError as error:
            refused.append(error)
    if len(refused) == len(reads):
        raise refused[0]


def _numbers(path: Path) -> None:
    with open_rollout(path) as rollout:
        for name in rollout.datasets:
            np.isfinite(rollout.numbers(name, slice(0, 4), slice(0, 8)))


def _actions(path: Path) -> None:
    actions = open_actions(path)
    actions.read(*(slice(0, 4) for _ in actions.shape))
