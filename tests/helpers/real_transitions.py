"""Transitions of a real env, to be written by other libraries and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imagine_cli.environments import describe_named, opened_env
from imagine_cli.evaluation.real import RealRun, run_real, write_real
from imagine_cli.policies import make_policy
from imagine_cli.transitions.join import join
from imagine_cli.transitions.reader import read_recordings
from imagine_cli.transitions.transitions import Transitions


def record(path: Path, env_id: str = "Pendulum-v1", steps: int = 20, count: int = 5) -> RealRun:
    """A real run in a rollout file."""
    with opened_env(env_id) as (env, about):
        policy = make_policy("random", about, seed=1)
        run = run_real(env, about, policy, steps=steps, trajectories=count, seed=1)
        write_real(run, path, about, policy="random", seed=1, command="a test")
    return run


def transitions(
    path: str | Path, env_id: str = "Pendulum-v1", columns: str | None = None
) -> Transitions:
    """What any file has."""
    return join(read_recordings([path], columns), describe_named(env_id), reward=False)


def check_same(found: Transitions, expected: Transitions, dtype: type = np.float64) -> None:
    """To the bit, where ``expected`` is rounded to what the format keeps."""
    for name in ("observations", "actions", "next_observations", "rewards"):
        one, other = getattr(found, name), getattr(expected, name).astype(dtype)
        np.testing.assert_array_equal(one, other, err_msg=name)
    np.testing.assert_array_equal(found.episode, expected.episode)
