"""Scores against scipy's normal distribution and counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.fitting import Scores, Transitions, score, score_world_model
from imagine_cli.fitting.one_step import scores_document
from imagine_cli.scores import condense
from imagine_cli.world_models import Prediction, WorldModel

_numbers = st.floats(-1e3, 1e3, width=32)


@given(data=st.data(), shape=st.tuples(st.integers(1, 30), st.integers(1, 4)))
@settings(max_examples=50, deadline=None)
def test_scores_are_those_of_the_normal_distribution(
    data: st.DataObject, shape: tuple[int, int]
) -> None:
    mean = data.draw(hnp.arrays(float, shape, elements=_numbers))
    actual = data.draw(hnp.arrays(float, shape, elements=_numbers))
    sd = data.draw(hnp.arrays(float, shape, elements=st.floats(0.01, 100.0)))
    found = score(mean, sd**2, actual)
    normal = stats.norm(mean, sd)
    np.testing.assert_allclose(found.marginal["nll"], -normal.logpdf(actual).mean(0), rtol=1e-11)
    np.testing.assert_allclose(found.marginal["rmse"], np.sqrt(((mean - actual) ** 2).mean(0)))
    low, high = normal.interval(0.95)
    edge = np.isclose(actual, low, rtol=1e-12) | np.isclose(actual, high, rtol=1e-12)
    if not edge.any():
        inside = (low < actual) & (actual < high)
        np.testing.assert_allclose(found.marginal["coverage95"], inside.mean(axis=0), rtol=1e-15)


def test_a_true_model_covers_95_percent_and_scores_its_entropy() -> None:
    rng = np.random.default_rng(0)
    n, sd = 200_000, np.array([0.1, 3.0])
    found = score(np.zeros((n, 2)), np.tile(sd**2, (n, 1)), sd * rng.standard_normal((n, 2)))
    # Five standard errors: of a proportion, and of a mean of chi-squares over two.
    assert np.abs(found.marginal["coverage95"] - 0.95).max() < 5 * np.sqrt(0.95 * 0.05 / n)
    assert np.abs(found.marginal["nll"] - stats.norm(0, sd).entropy()).max() < 5 * np.sqrt(0.5 / n)


def test_what_is_certain_is_right_or_wrong() -> None:
    mean, var = np.zeros((3, 3)), np.array([[0.0, 0.0, 0.0]] * 2 + [[0.0, 1.0, 0.0]])
    found = score(mean, var, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(found.marginal["nll"], [-np.inf, -np.inf, np.inf])
    np.testing.assert_array_equal(found.marginal["coverage95"], [1.0, 1.0, 2 / 3])


def test_overall_pools_errors_and_averages_the_rest() -> None:
    means = {
        "square": [9.0, 16.0],
        "error": [0.0, 1.0],
        "nll": [1.0, 2.0],
        "coverage95": [0.9, 1.0],
    }
    marginal, joint = condense({name: np.array(values) for name, values in means.items()})
    found = scores_document(Scores(np.asarray(7), marginal, joint))
    assert found["transitions"] == 7
    assert found["overall"] == pytest.approx(
        {"rmse": np.sqrt(12.5), "nll": 1.5, "coverage_95": 0.95}, rel=1e-15
    )
    assert found["rmse"] == [3.0, 4.0]


class _Halves(WorldModel):
    """x' ~ N(x / 2 + u, diag(1 + x²)), in float32."""

    kind = "halves"
    observation_size, action_size, dtype = 2, 2, torch.float32

    def predict(self, observation: Belief, action: ActionBelief) -> Prediction:
        assert observation.mean.dtype == torch.float32
        assert not observation.var.any()
        mean = observation.mean / 2 + action.mean
        return Prediction(mean, torch.diag_embed(1 + observation.mean.square()))

    def config(self) -> dict[str, Any]:
        raise NotImplementedError

    from_config = classmethod(config)  # type: ignore[assignment]


def test_a_world_model_is_scored_step_by_step_from_real_observations() -> None:
    rng = np.random.default_rng(1)
    x, u, following = rng.standard_normal((3, 250, 2)).astype(np.float32).astype(float)
    some = Transitions(x, u, following, np.zeros(250), np.zeros(250, np.int64))
    found = score_world_model(_Halves(), some)
    expected = score(x / 2 + u, 1 + x**2, following)
    assert found.count == 250
    np.testing.assert_allclose(
        found.marginal["rmse"], expected.marginal["rmse"], rtol=1e-6
    )  # float32
    np.testing.assert_allclose(found.marginal["nll"], expected.marginal["nll"], rtol=1e-6)
    np.testing.assert_array_equal(found.marginal["coverage95"], expected.marginal["coverage95"])
