"""Scores of Gaussian forecasts against what really happened: the type and the mathematics that
fits and evaluations share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

QUANTILES = {50: 0.6744897501960817, 90: 1.6448536269514722, 95: 1.959963984540054}
"""How many standard deviations the central interval of so many percent reaches from the mean."""


@dataclass(frozen=True)
class Scores:
    """Scores of Gaussian forecasts: one step ahead, where ``*T`` is ``()``, or at the horizons
    1 to T, index 0 being horizon 1. NaN where no trajectory gets there.

    Attributes:
        count: ``(*T,)``, how many forecasts were scored.
        marginal: of each dimension, ``(*T, D)``: ``rmse``; ``bias`` (mean of imagined minus real);
            ``nll`` (negative log-likelihood of the marginal Gaussian, nats); ``coverage50``,
            ``90``, ``95``: the part of real values inside the central interval. An evaluation has
            ``crps``; ``sharpness``, the mean width of the 90 % interval; ``calibration``, the mean
            absolute difference between nominal and observed cumulative probability over 5 %,
            10 %, ... 95 %.
        joint: of the observation as a whole, ``(*T,)``: ``rmse`` (root of the mean of the
            dimensions' squares), ``bias`` (mean of their absolute values), ``coverage50`` ...,
            ``crps``, ``sharpness``, ``calibration`` (means over the dimensions). An evaluation has
            ``nll`` of the joint Gaussian, ``energy`` (energy score) and ``mahalanobis50``, ``90``,
            ``95``: the part of real observations inside the ellipsoid of that probability.
    """

    count: np.ndarray
    marginal: dict[str, np.ndarray]
    joint: dict[str, np.ndarray]

    def value(self, metric: str, horizon: int, dimension: int | None = None) -> float:
        """One number. KeyError for a metric that there isn't."""
        if dimension is None:
            return float(self.joint[metric][horizon - 1])
        return float(self.marginal[metric][horizon - 1, dimension])


def errors(real: np.ndarray, mean: np.ndarray, var: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Imagined minus real, and the standard deviation; infinity and 1 where a forecast is not
    finite."""
    lost = ~(np.isfinite(mean) & np.isfinite(var))
    sd = np.sqrt(np.maximum(np.where(lost, 1.0, var), 0.0))
    return np.where(lost, np.inf, mean - real), sd


def marginal_terms(error: np.ndarray, sd: np.ndarray) -> dict[str, np.ndarray]:
    """What is averaged over forecasts, ``(N, D)`` each, of :func:`errors`.

    Where a forecast is certain (zero standard deviation), the limit: a negative log likelihood of
    minus infinity where it is right, of infinity where it is wrong.
    """
    certain = sd == 0.0
    some = np.where(certain, 1.0, sd)
    # Not the logarithm of a density, which is infinite 39 deviations out.
    nll = 0.5 * (error / some) ** 2 + np.log(some) + 0.5 * np.log(2 * np.pi)
    return {
        "square": error**2,
        "error": error,
        "nll": np.where(certain, np.where(error == 0.0, -np.inf, np.inf), nll),
        **{
            f"coverage{level}": (np.abs(error) <= quantile * sd).astype(np.float64)
            for level, quantile in QUANTILES.items()
        },
    }


def condense(
    means: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The scores of each dimension, and of all, from the means of :func:`marginal_terms`.

    Of all, squares are pooled, and the rest is averaged; but there is no ``nll``, as the marginal
    ones don't say the joint one.
    """
    rest = {name: mean for name, mean in means.items() if name not in ("square", "error")}
    square, error = means["square"], means["error"]
    marginal = {"rmse": np.sqrt(square), "bias": error, **rest}
    joint = {
        "rmse": np.sqrt(square.mean(-1)),
        "bias": np.abs(error).mean(-1),
        **{name: mean.mean(-1) for name, mean in rest.items() if name != "nll"},
    }
    return marginal, joint


def score(mean: np.ndarray, var: np.ndarray, actual: np.ndarray) -> Scores:
    """Scores of ``N(mean, var)`` for ``actual``, all at one horizon; each argument ``(N, D)``.

    One that is certain and wrong outweighs others that are certain and right.
    """
    with np.errstate(invalid="ignore"):
        terms = marginal_terms(*errors(actual, mean, var))
        means = {name: values.mean(axis=0) for name, values in terms.items()}
    means["nll"] = np.where(np.isposinf(terms["nll"]).any(axis=0), np.inf, means["nll"])
    return Scores(np.asarray(len(actual)), *condense(means))
