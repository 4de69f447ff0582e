"""Which transitions train, which calibrate, which are held out, and which become points."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.seeds import Stream, seed_sequence
from imagine_cli.transitions.transitions import Transitions

# No stretch of consecutive transitions is longer than a 200th of them all; but it may be as long
# as 5, or as 40 where that is at most a 50th. (A long episode is cut into stretches of more than
# half the most that is allowed, so that of 2000 transitions each one has 20 steps to look ahead.)
_STRETCHES, _SHORTEST = 200, 5
_FEWER_STRETCHES, _LOOKED_AHEAD = 50, 40

# Fewer transitions would give no number that is worth reading.
_FEWEST = 10


@dataclass(frozen=True)
class Split:
    """Disjoint transitions: to fit to, to set the variances by, and to report scores on.

    ``calibration_rows`` and ``held_out_rows`` say where these are among all: what is a gap and
    what is not.
    """

    training: Transitions
    calibration: Transitions
    held_out: Transitions
    calibration_rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    held_out_rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def check_fraction(fraction: float, steps: int) -> None:
    """Raises InputError where ``fraction`` of ``steps`` is no part to hold out."""
    if not 0.0 < fraction <= 0.4:
        raise InputError(
            f"the held-out part must be more than 0 and at most 0.4, not {fraction}: as much "
            "again goes to calibration, and the rest must be enough to fit to"
        )
    if fraction * steps < _FEWEST:
        raise InputError(
            f"holding out {fraction} of {steps} steps leaves fewer than {_FEWEST} to score on; "
            "take more steps or hold out more of them"
        )


def split(transitions: Transitions, fraction: float, seed: int) -> Split:
    """Hold out about ``fraction`` of the transitions, and as many again for calibration.

    Neighbours in time are nearly copies of each other, so that single transitions held out would
    score the memory of a model. What is dealt out is stretches of one episode instead: whole
    episodes, or where these are long, pieces of at most a 200th of all transitions (but of 5, or
    of 40 where that is at most a 50th of them).
    """
    stretches = _stretches(transitions.episode)
    order = np.random.default_rng(seed_sequence(seed, Stream.FIT_SPLIT))
    dealt = [stretches[k] for k in order.permutation(len(stretches))]
    enough = fraction * len(transitions)
    none = np.empty(0, dtype=np.int64)
    parts: list[list[np.ndarray]] = [[none], [none], [none]]
    sizes = [0, 0]
    for rows in dealt:
        part = 0 if sizes[0] < enough else 1 if sizes[1] < enough else 2
        parts[part].append(rows)
        if part < 2:
            sizes[part] += len(rows)
    held_out, calibration, training = (np.sort(np.concatenate(part)) for part in parts)
    return Split(
        training=transitions[training],
        calibration=transitions[calibration],
        held_out=transitions[held_out],
        calibration_rows=calibration,
        held_out_rows=held_out,
    )


def _stretches(episode: np.ndarray) -> list[np.ndarray]:
    """Rows of each stretch: consecutive, of one episode."""
    count = len(episode)
    longest = max(_SHORTEST, count // _STRETCHES, min(_LOOKED_AHEAD, count // _FEWER_STRETCHES))
    rows = np.arange(len(episode))
    pieces: list[np.ndarray] = []
    for whole in np.split(rows, np.flatnonzero(np.diff(episode)) + 1):
        pieces.extend(np.array_split(whole, -(-len(whole) // longest)))
    return pieces


def scales(values: np.ndarray) -> np.ndarray:
    """The standard deviation of each column of ``(n, E)``; 1 where a column is constant."""
    deviation = values.std(axis=0)
    magnitude = np.abs(values).max(axis=0)
    # The deviation of equal numbers is rounding, not always zero.
    return np.where(deviation > 1e-12 * magnitude, deviation, 1.0)


def farthest_points(inputs: np.ndarray, count: int) -> np.ndarray:
    """Indices of up to ``count`` rows of ``(N, E)`` that lie far from each other, in order.

    Greedy: the first is the one farthest from the mean, each next one the farthest from all
    before it, in units of the columns' standard deviations. Ends early where all rows that are
    left repeat ones already taken.
    """
    standard = (inputs - inputs.mean(axis=0)) / scales(inputs)
    taken = [int(np.argmax(np.square(standard).sum(axis=1)))]
    nearest = np.full(len(inputs), np.inf)
    while len(taken) < min(count, len(inputs)):
        nearest = np.minimum(nearest, np.square(standard - standard[taken[-1]]).sum(axis=1))
        farthest = int(np.argmax(nearest))
        if nearest[farthest] <= 0.0:
            break
        taken.append(farthest)
    return np.array(taken)
