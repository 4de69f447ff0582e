from __future__ import annotations

import numpy as np
import pytest
import scoringrules
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln, hyp1f1

from imagine_cli.evaluation.energy import energy_score, mean_length


@given(
    st.floats(-1e4, 1e4),
    st.floats(1e-6, 1e6),
)
def test_in_one_dimension_it_is_the_crps(error: float, sd: float) -> None:
    found = energy_score(np.array([[error]]), np.array([[sd**2]]))
    crps = scoringrules.crps_normal(error, 0.0, sd, backend="numpy")
    np.testing.assert_allclose(found, crps, rtol=1e-8)


@pytest.mark.parametrize("size", [1, 2, 3, 17, 100])
def test_the_length_of_a_standard_gaussian_is_chi(size: int) -> None:
    chi = np.sqrt(2) * np.exp(gammaln((size + 1) / 2) - gammaln(size / 2))
    found = mean_length(np.zeros((1, size)), np.full((1, size), 9.0))
    np.testing.assert_allclose(found, 3 * chi, rtol=1e-9)


@pytest.mark.parametrize("distance", [0.0, 0.1, 1.0, 5.0, 20.0])
def test_off_centre_in_two_dimensions_it_is_rice(distance: float) -> None:
    rice = np.sqrt(np.pi / 2) * hyp1f1(-0.5, 1.0, -(distance**2) / 2)
    found = mean_length(np.array([[distance * 0.6, distance * 0.8]]), np.ones((1, 2)))
    np.testing.assert_allclose(found, rice, rtol=1e-9)


def test_one_variance_much_larger_than_the_others() -> None:
    found = mean_length(np.zeros((1, 4)), np.array([[1.0, 1e-12, 1e-14, 0.0]]))
    np.testing.assert_allclose(found, np.sqrt(2 / np.pi), rtol=1e-8)


def test_a_certain_forecast_scores_its_distance() -> None:
    along = np.array([[3.0, 4.0], [0.0, 0.0], [1e-8, 0.0]])
    found = energy_score(along, np.zeros((3, 2)))
    np.testing.assert_allclose(found, [5.0, 0.0, 1e-8], rtol=1e-12)


def test_correlated_dimensions_agree_with_the_librarys_ensemble_score() -> None:
    rng = np.random.default_rng(0)
    var = np.array([[1.0, 0.7, 0.0], [0.7, 2.0, -0.5], [0.0, -0.5, 0.3]])
    real = np.array([0.4, -1.0, 0.8])
    values, vectors = np.linalg.eigh(var)
    exact = energy_score((vectors.T @ real)[None], values[None])[0]
    ensembles = rng.multivariate_normal(np.zeros(3), var, size=(400, 100))
    sampled = scoringrules.es_ensemble(
        np.broadcast_to(real, (400, 3)), ensembles, estimator="fair", backend="numpy"
    )
    error = sampled.std() / np.sqrt(len(sampled))
    assert abs(sampled.mean() - exact) < 3 * error
    assert error < 0.01 * exact


def test_many_rows_score_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    along, variances = rng.normal(size=(5000, 2)), rng.uniform(size=(5000, 2))
    together = energy_score(along, variances)
    for row in (0, 4095, 4096, 4999):
        alone = energy_score(along[row : row + 1], variances[row : row + 1])
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-12)
