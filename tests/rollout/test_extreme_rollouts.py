"""Models whose numbers go wrong: a rollout that is right, or a sentence that says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli import ImagineError, open_rollout, run_rollout, save_world_model
from imagine_cli.cli import main
from imagine_cli.world_models import LinearGaussianWorldModel
from tests.helpers.ensembles import random_ensemble
from tests.helpers.linear_systems import linear_model
from tests.helpers.worlds import linear_module, small_gp

WAYS = ["moments", "linearized", "unscented", "particles"]


class Wrong(torch.nn.Module):
    """Gives the number asked for, in the third trajectory's second dimension, from step 4 on."""

    def __init__(self, mean: float = 0.0, var: float = 0.0) -> None:
        super().__init__()
        self.mean, self.var, self.count = mean, var, 0

    def forward(self, action: Any, observation: Any) -> Any:
        self.count += 1
        mean, var = torch.zeros_like(observation["mean"]), torch.zeros_like(observation["var"])
        if self.count >= 4:
            mean[2, 1], var[2, 1, 1] = self.mean, self.var
        return mean, var


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("which", ["mean", "var"])
def test_what_is_not_finite_is_named(tmp_path: Path, which: str, number: float) -> None:
    model = linear_module(3, 1, torch.float64)
    model.module, model.dtype = Wrong(**{which: number}), torch.float64
    with pytest.raises(
        ImagineError, match=r"not finite at step 4 of trajectory 2, dimension sin\(theta\)"
    ) as caught:
        run_rollout("Pendulum-v1", model, output=tmp_path / "r.h5", trajectories=4, steps=9)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_covariance_that_is_none_is_repaired_and_said(tmp_path: Path) -> None:
    model = linear_module(3, 1, torch.float64)
    model.module, model.dtype = Wrong(var=-1.0), torch.float64
    with pytest.warns(UserWarning, match="not positive semi-definite; its negative eigenvalues"):
        run_rollout("Pendulum-v1", model, output=tmp_path / "r.h5", trajectories=4, steps=5)
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert float(np.linalg.eigvalsh(rollout.var()).min()) >= 0.0


def growing(factor: float) -> LinearGaussianWorldModel:
    return LinearGaussianWorldModel.from_parameters(
        factor * np.eye(3), np.zeros((3, 1)), np.zeros(3), np.eye(3)
    )


@pytest.mark.parametrize("way", WAYS)
def test_variances_that_overflow_say_when(tmp_path: Path, way: str) -> None:
    """They are 1, 1e100, 1e200, 1e300, and then beyond what a float64 holds."""
    with pytest.raises(ImagineError, match=r"not finite at step 5 of trajectory 0, dimension cos"):
        run_rollout(
            "Pendulum-v1", growing(1e50), output=tmp_path / "r.h5", propagation=way, steps=9,
            start="mean=0,0,0",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
def test_wide_and_narrow_beliefs_stay_covariances(tmp_path: Path, way: str) -> None:
    for factor in (1e-30, 1.0, 1e10):
        path = tmp_path / f"{factor}.h5"
        run_rollout("Pendulum-v1", growing(factor), output=path, propagation=way, steps=9)
        with open_rollout(path) as rollout:
            var = rollout.var()
        assert np.isfinite(var).all()
        largest = np.abs(var).max(axis=(-2, -1))
        assert (np.linalg.eigvalsh(var)[..., 0] >= -1e-9 * largest).all()


@pytest.mark.parametrize("kind", ["gp", "linear", "ensemble"])
def test_starts_far_away_are_right_or_a_sentence(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"gp": small_gp, "linear": linear_model, "ensemble": random_ensemble}
    model: Any = models[kind](3, 1)
    save_world_model(model, tmp_path / "wm.pt")
    for k, start in enumerate(
        ("mean=1e8,0,0;var=1e16,1,1e-16", "mean=1e150,0,0", "mean=0,0,0;var=1e300,1,1")
    ):
        output = tmp_path / f"{k}.h5"
        status = main(
            ["rollout", "--env", "Pendulum-v1", "--model", str(tmp_path / "wm.pt"), "-q",
             "--steps", "5", "--start", start, "-o", str(output)]
        )  # fmt: skip
        error = capsys.readouterr().err
        if status == 0:
            with open_rollout(output) as rollout:
                assert np.isfinite(rollout.mean()).all()
                assert np.isfinite(rollout.var()).all()
        else:
            assert status == 1
            assert "not finite at step" in error
            assert "of trajectory 0, dimension" in error
            assert not output.exists()
        assert k > 0 or status == 0  # the first one is within every model's reach
