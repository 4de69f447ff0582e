"""What there is to fit to: transitions of a real env, run now or recorded before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imagine_cli.environments import EnvDescription, describe_named, opened_env
from imagine_cli.errors import InputError
from imagine_cli.fitting.collect import collect
from imagine_cli.policies import make_policy
from imagine_cli.progress import Progress
from imagine_cli.seeds import Stream, derived_seed
from imagine_cli.transitions.join import env_of, join
from imagine_cli.transitions.reader import read_recordings
from imagine_cli.transitions.transitions import Transitions

FEWEST_STEPS = 50
"""Fewer transitions of a real env are nothing to fit to, or to calibrate on."""


class Gathered(NamedTuple):
    """Transitions in order of time, and where they are from: the env and its id as it was given.

    ``sources`` is a dict of plain data for each file that was read.
    """

    env_id: str
    env: EnvDescription
    transitions: Transitions
    sources: Sequence[dict[str, Any]] = ()


def run(
    env_id: str | None,
    env_kwargs: dict[str, Any] | None,
    *,
    steps: int,
    policy: str,
    seed: int,
    progress: Progress,
) -> Gathered:
    """Run the real env, on other episodes than a rollout or an evaluation of the same seed.

    Raises as :func:`~imagine_cli.fitting.collect.collect` does.
    """
    if env_id is None:
        raise InputError("no env: give --env, or --data that says of which env it is")
    seed = derived_seed(seed, Stream.FIT)
    with opened_env(env_id, env_kwargs) as (env, about):
        acting = make_policy(policy, about, seed=seed)
        transitions = collect(env, acting, steps=steps, seed=seed, progress=progress)
    return Gathered(env_id, about, transitions)


def read(
    sources: Sequence[str | Path],
    env_id: str | None,
    env_kwargs: dict[str, Any] | None,
    *,
    reward: bool,
    steps: int | None,
    columns: str | None,
    allow_imagined: bool,
    progress: Progress,
) -> Gathered:
    """Read recorded transitions; the env is made for its spaces alone.

    Raises:
        InputError: data that can't be used, of another env, imagined, or of too few steps.
    """
    progress.stage("reading the data")
    recordings = read_recordings(sources, columns)
    for each in recordings:
        if each.imagined and not allow_imagined:
            raise InputError(
                f"{each.path} is an imagined rollout, and a model fitted to it would learn what "
                "another model believes; fit to a real run, which imagine evaluate --record "
                "real.h5 writes, or give --allow-imagined"
            )
    env_id, env_kwargs = env_of(recordings, env_id, env_kwargs)
    about = describe_named(env_id, env_kwargs)
    transitions = join(recordings, about, reward=reward, steps=steps)
    if len(transitions) < FEWEST_STEPS:
        raise InputError(
            f"the data have {len(transitions)} transitions, and a fit needs {FEWEST_STEPS} or more"
        )
    progress.advance(len(transitions))
    return Gathered(env_id, about, transitions, [each.as_dict() for each in recordings])
