"""Against 40 decimal digits."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest

from imagine_cli.world_models.gp.compiled.exponentials import exp, expm1
from imagine_cli.world_models.gp.compiled.kernel import kernel

mpmath.mp.dps = 40


@kernel
def vector_expm1(x: np.ndarray, out: np.ndarray) -> None:
    for j in range(len(x)):
        out[j] = expm1(x[j])


@kernel
def vector_exp(x: np.ndarray, out: np.ndarray) -> None:
    for j in range(len(x)):
        out[j] = exp(x[j])


@pytest.mark.parametrize(
    ("function", "wanted"), [(vector_expm1, mpmath.expm1), (vector_exp, mpmath.exp)]
)
def test_within_one_and_a_half_units_in_the_last_place(
    function: Callable[..., None], wanted: Callable[[float], mpmath.mpf]
) -> None:
    g = np.random.default_rng(0)
    tiny = 10.0 ** g.uniform(-300, 0, 500) * g.choice([-1.0, 1.0], 500)
    halves = (np.arange(-1021, 1010) + 0.5) * math.log(2.0)  # where k changes
    x = np.concatenate([tiny, halves, halves * (1 + 1e-15), g.uniform(-707, 699, 2000)])
    x = x[(x > -708) & (x < 700)]
    found = np.empty_like(x)
    function(x, found)
    for at, value in zip(x.tolist(), found.tolist(), strict=True):
        true = wanted(at)
        assert abs(value - true) <= 1.5 * math.ulp(float(true)), at


def test_at_the_edges() -> None:
    x = np.array([0.0, -0.0, 700.0, 1e300, np.inf, -750.0, -np.inf])
    found = np.empty_like(x)
    vector_expm1(x, found)
    assert found[:2].tolist() == [0.0, 0.0]
    assert found[3] == found[4] == found[2] == pytest.approx(math.exp(700.0), rel=1e-15)
    assert found[5:].tolist() == [-1.0, -1.0]
    vector_exp(x, found)
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[5:].tolist() == [0.0, 0.0]


def test_not_a_number_stays_none() -> None:
    x = np.array([np.nan] * 9)
    found = np.zeros_like(x)
    vector_expm1(x, found)
    assert np.isnan(found).all()
    vector_exp(x, found)
    assert np.isnan(found).all()
