"""How well a world model predicts held-out transitions several steps ahead.

From real observations that were held out it imagines on, with the actions that were really taken,
as far as the transitions held out go on without a gap; the propagation is the model's own.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch

from imagine_cli.belief import point
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import ImagineError, Remark
from imagine_cli.fitting.one_step import marginals, score_reward, scores_document
from imagine_cli.fitting.split import Split
from imagine_cli.policies.replay import GivenActions
from imagine_cli.progress import Progress
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.propagation.registry import make_propagation
from imagine_cli.scores import Scores, score
from imagine_cli.threads import one_thread
from imagine_cli.transitions.transitions import Transitions
from imagine_cli.unroll import ModelDynamics, Step, begin, unroll
from imagine_cli.world_models.base import WorldModel

HORIZONS = (1, 5, 20)

# The most windows that are imagined: 100, or fewer where covariances are large, but 20. The same
# for every kind of model, so that these are compared on the same windows.
_MOST, _MOST_NUMBERS, _LEAST = 100, 6000, 20


# Seconds that are worth a word before, and the windows that tell of them.
_LONG, _TRIED = 60.0, 4


class Windows(NamedTuple):
    """Stretches of consecutive transitions: each one's first row and how many there are, (W,)."""

    start: np.ndarray
    length: np.ndarray


def windows(episode: np.ndarray, rows: np.ndarray, longest: int, most: int) -> Windows:
    """Disjoint windows of up to ``longest`` rows among ``rows``, at most ``most`` of them.

    Args:
        episode: ``(N,)``, of all transitions; a window stays in one.
        rows: which of the N there are to take from, in order.
        longest: whoever has more rows in a row is cut into windows of so many.
        most: longer windows are preferred; those taken are spread evenly over them all.
    """
    gap = (np.diff(rows) != 1) | (np.diff(episode[rows]) != 0)
    begins = np.concatenate([[0], np.flatnonzero(gap) + 1])
    ends = np.concatenate([begins[1:], [len(rows)]])
    cut = [
        (rows[at], min(longest, end - at))
        for begin, end in zip(begins, ends, strict=True)
        for at in range(begin, end, longest)
    ]
    first, lengths = (np.array(column, dtype=np.int64) for column in zip(*cut, strict=True))
    chosen: list[int] = []
    for length in sorted(set(lengths.tolist()), reverse=True):
        these = np.flatnonzero(lengths == length)
        count = min(most - len(chosen), len(these))
        chosen += these[np.linspace(0, len(these) - 1, count).round().astype(int)].tolist()
    order = np.sort(np.array(chosen))
    return Windows(first[order], lengths[order])


def held_out_scores(
    model: WorldModel,
    data: Transitions,
    parts: Split,
    env: EnvDescription,
    *,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Scores on the held-out part of ``data``, as a checkpoint's metadata have them: one step
    ahead, with those of the reward where the model has one, and below ``horizons`` further."""
    some = parts.held_out
    one_step = scores_document(score(*marginals(model, some), some.next_observations))
    if model.has_reward:
        one_step["reward"] = scores_document(score_reward(model, some))["overall"]
    horizons = score_horizons(
        model, data, parts.held_out_rows, one_step, seed=seed, progress=progress
    )
    return {"observation_names": env.observation_names, **one_step, "horizons": horizons}


@one_thread()
def score_horizons(
    model: WorldModel,
    data: Transitions,
    held_out: np.ndarray,
    one_step: dict[str, Any],
    *,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Scores 1, 5 and 20 steps ahead, as far as there are held-out stretches of so many steps.

    Args:
        model: the world model.
        data: all transitions, N.
        held_out: the rows of those that it has not seen, in order.
        one_step: its scores one step ahead, on all of these.
        seed: of what the propagation draws.

    Returns:
        Plain data: ``propagation``, ``ahead`` (for each horizon ``steps`` and the scores, as
        ``one_step`` has them), and ``left_out`` (a sentence for each horizon without scores).
    """
    most = min(_MOST, max(_LEAST, _MOST_NUMBERS // model.observation_size**2))
    found = windows(data.episode, held_out, HORIZONS[-1], most)
    propagation = make_propagation(None, model)
    reach = int(found.length.max())
    horizons = [steps for steps in HORIZONS[1:] if steps <= reach]
    left_out = [
        f"no scores {steps} steps ahead: no {steps} steps in a row were held out"
        for steps in HORIZONS[1:]
        if steps > reach
    ]
    ahead = [{"steps": 1, **one_step}]
    beliefs = _imagine(model, data, found, horizons, seed, progress)
    for steps in horizons:
        if steps not in beliefs:
            left_out.append(f"no scores {steps} steps ahead: the belief is not finite any more")
            continue
        there = found.length >= steps
        last = found.start[there] + steps - 1
        observation, reward = beliefs[steps]
        entry = scores_document(_score(observation, data.next_observations[last], there))
        if reward is not None:
            scores = _score(reward, data.rewards[last][:, None], there)
            entry["reward"] = scores_document(scores)["overall"]
        ahead.append({"steps": steps, **entry})
    return {"propagation": propagation.description, "ahead": ahead, "left_out": left_out}


Marginals = tuple[np.ndarray, np.ndarray]


def _imagine(
    model: WorldModel,
    data: Transitions,
    found: Windows,
    horizons: list[int],
    seed: int,
    progress: Progress,
) -> dict[int, tuple[Marginals, Marginals | None]]:
    """Marginals ``(W, D)`` of the observations, and ``(W, 1)`` of the rewards, so far ahead.

    Ends where a belief is not finite. After its end, a window's last action goes on.
    """
    beliefs: dict[int, tuple[Marginals, Marginals | None]] = {}
    if not horizons:
        return beliefs
    dynamics = ModelDynamics(model, make_propagation(None, model))
    steps = np.minimum(np.arange(horizons[-1]), found.length[:, None] - 1)
    rows = found.start[:, None] + steps

    def imagined(count: int, steps: int) -> Iterator[Step]:
        """The first so many windows."""
        noise = TrajectoryNoise(seed, 0, count, model.dtype)
        policy = GivenActions(torch.as_tensor(data.actions[rows[:count]]), "held out")
        belief = point(torch.as_tensor(data.observations[found.start[:count]]).to(model.dtype))
        state = begin(dynamics, policy, belief, noise)
        return unroll(dynamics, policy, belief, state, noise, steps)

    with torch.no_grad(), suppress(ImagineError):
        _foretell(imagined, len(rows), horizons[-1])
        progress.stage("scoring steps ahead", horizons[-1])
        for ahead, step in enumerate(imagined(len(rows), horizons[-1]), start=1):
            mean, var, reward, reward_var, _ = step.prediction
            if not (torch.isfinite(mean).all() and torch.isfinite(var).all()):
                break
            progress.advance()
            if ahead in horizons:
                rewards = None
                if reward is not None and reward_var is not None:
                    rewards = (_column(reward), _column(reward_var))
                variances = var.diagonal(dim1=-2, dim2=-1)
                beliefs[ahead] = (mean.double().numpy(), variances.double().numpy()), rewards
    return beliefs


def _foretell(imagined: Callable[[int, int], Iterator[Step]], count: int, steps: int) -> None:
    """A Remark where so many windows and steps take over a minute, by a step of a few of them."""

    def seconds(some: int) -> float:
        begun = time.perf_counter()
        next(imagined(some, 1))
        return time.perf_counter() - begun

    if count <= _TRIED or seconds(1) * count * steps < _LONG:
        return
    one, some = seconds(1), seconds(_TRIED)  # the first one may have loaded and compiled
    total = steps * (one + (count - 1) * max(0.0, some - one) / (_TRIED - 1))
    if total > _LONG:
        warnings.warn(
            f"scoring takes about {total / 60:.2g} minutes; imagine fit --no-scores leaves it out",
            Remark,
            stacklevel=2,
        )


def _score(belief: Marginals, actual: np.ndarray, there: np.ndarray) -> Scores:
    mean, var = belief
    return score(mean[there], var[there], actual)


def _column(numbers: torch.Tensor) -> np.ndarray:
    return numbers.double().numpy()[:, None]
