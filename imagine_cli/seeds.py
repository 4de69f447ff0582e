"""Every stream of random numbers that a seed has, named once.

Streams of one seed are independent of each other. Change no number: files and tests say what
came of them.
"""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np


@unique
class Stream(IntEnum):
    """The first number of a ``spawn_key``; what is in brackets are those that follow."""

    RESET = 0  # (i): the real env's reset that trajectory i starts from
    RANDOM_POLICY = 1  # (i): the actions of trajectory i
    PROPAGATION = 2  # (i): what the propagation draws for trajectory i
    FIT_GP = 3  # (k): where the optimisations for dimension k start
    EVALUATION = 4  # (): the seed of an evaluation's real run, whose own streams are these again
    FIT_SPLIT = 5  # (): which transitions train, calibrate and are held out
    FIT_SPARSE_GP = 6  # (): which transitions the optimisation sees
    FIT_ENSEMBLE = 7  # (): the networks' first weights, and each one's batches
    SEARCH_POLICY = 8  # (k): the parameters that restart k of a policy search begins from
    SEARCH_NOISE = 9  # (): what imagination draws, the same for each policy that is tried
    LEARNING = 10  # (k): the seed of round k's trial, whose own streams are these again
    PLANNER = 11  # (i): what a planner draws for trajectory i
    INITIAL_BELIEF = 12  # (i): of seed 0, reset i of those that the start "belief" is fitted to
    FIT = 13  # (): the seed of a fit's real run, whose own streams are these again
    GYMNASIUM_ENV = 14  # (): what an episode of a world model as a Gymnasium env draws


def seed_sequence(seed: int, stream: Stream, *index: int) -> np.random.SeedSequence:
    """What seeds a generator of a stream: ``np.random.Philox(seed_sequence(...))``."""
    return np.random.SeedSequence(seed, spawn_key=(int(stream), *index))


def derived_seed(seed: int, stream: Stream, *index: int) -> int:
    """The seed that a stream stands for, whose own streams are all of them again."""
    return int(seed_sequence(seed, stream, *index).generate_state(1, np.uint64)[0] >> 1)
