"""The numbers of a reliability diagram, from what an evaluation found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.files.json_file import read_json

JOINT = "all together"
_MOST_CURVES = 4
_LARGEST = 2**26


@dataclass(frozen=True)
class Calibration:
    """One forecast of one quantity, against N real values.

    Attributes:
        label: which forecast: a model, or a horizon.
        count: N.
        nominal, observed: ``(K,)`` in [0, 1]: what part of the real values the interval (or the
            ellipsoid) of a probability should cover, and does; from 0 to 1.
        pit: ``(10,)``, the counts of the probability integral transform in equal bins.
    """

    label: str
    count: int
    nominal: np.ndarray
    observed: np.ndarray
    pit: np.ndarray


class Panel(NamedTuple):
    """A dimension, or the whole observation, with a curve for each forecast."""

    name: str
    curves: list[Calibration]


class Selection(NamedTuple):
    """What is drawn: ``(label, model's number, horizon)`` of each curve, and how many models had
    did not fit."""

    curves: list[tuple[str, int, int]]
    left_out: int


def read_evaluation(path: str | Path) -> dict[str, Any]:
    """What ``imagine evaluate --json`` printed to a file. Raises InputError."""
    document = read_json(Path(path), _LARGEST)
    if document.get("kind") != "evaluation":
        raise InputError(f"{path} is not what imagine evaluate --json prints")
    return document


def select(document: dict[str, Any], horizons: Sequence[int]) -> Selection:
    """Several models at one horizon, or one model at several; the longest by default.

    Raises:
        InputError: a horizon that there isn't, or several of several models.
    """
    counts = document["models"][0]["count"]
    reached = [h for h, count in enumerate(counts, 1) if count]
    for horizon in horizons:
        if horizon not in reached:
            raise InputError(
                f"no real trajectory was evaluated at step {horizon}; there is 1 to {reached[-1]}"
            )
    models, last = document["models"], reached[-1]
    if len(models) > 1:
        if len(horizons) > 1:
            raise InputError(
                "of several models one --horizon is drawn at a time; evaluate one model for more"
            )
        at = horizons[0] if horizons else last
        shown = models[:_MOST_CURVES]
        labels = [str(model.get("label", model["name"])) for model in shown]
        curves = [(label, number, at) for number, label in enumerate(labels)]
        return Selection(curves, len(models) - len(shown))
    chosen = list(dict.fromkeys(horizons)) or sorted({1, max(1, last // 2), last})
    if len(chosen) > _MOST_CURVES:
        raise InputError(f"a picture has up to {_MOST_CURVES} --horizon")
    return Selection([(f"step {horizon}", 0, horizon) for horizon in chosen], 0)


def panels_of(
    document: dict[str, Any], curves: Sequence[tuple[str, int, int]], dimensions: Sequence[str]
) -> list[Panel]:
    """A panel for the whole observation, where it has several dimensions, and one for each."""

    def curves_of(dimension: str | None) -> list[Calibration]:
        found = []
        for label, number, horizon in curves:
            model = document["models"][number]
            scores = model["overall"] if dimension is None else model["dimensions"][dimension]
            # Of as few particles as dimensions there is no joint coverage.
            if dimension is not None or any(scores["pit"][horizon - 1]):
                found.append(_calibration(scores, label, horizon, dimension is None))
        return found

    joint = curves_of(None) if len(document["observation_names"]) > 1 else []
    return ([Panel(JOINT, joint)] if joint else []) + [
        Panel(name, curves_of(name)) for name in dimensions
    ]


def _calibration(scores: dict[str, Any], label: str, horizon: int, joint: bool) -> Calibration:
    """Central intervals, or ellipsoids, of probability 0, 10, ... 90, 95 and 100 %.

    The ellipsoid of probability k / 20 holds the first k bins of its PIT; the interval of 2 k / 20
    the k bins on each side of a half.
    """
    pit = _counts(scores["pit"][horizon - 1])
    half = len(pit) // 2
    inside = [pit[: 2 * k] if joint else pit[half - k : half + k] for k in range(half + 1)]
    observed = np.array([bins.sum() for bins in inside]) / pit.sum()
    at_95 = float(scores["mahalanobis95" if joint else "coverage95"][horizon - 1])
    return Calibration(
        label,
        int(pit.sum()),
        np.insert(np.linspace(0.0, 1.0, len(observed)), -1, 0.95),
        np.insert(observed, -1, at_95),
        pit.reshape(10, -1).sum(-1),
    )


def _counts(values: Any) -> np.ndarray:
    """``(20,)`` whole numbers, not all of them zero."""
    counts = np.asarray(values, dtype=np.float64)
    if counts.shape != (20,) or not (counts >= 0).all() or not counts.sum():
        raise ValueError("a PIT histogram is 20 counts")
    return counts.astype(np.int64)
