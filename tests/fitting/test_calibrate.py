"""``imagine calibrate``, on what a real pendulum did."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imagine_cli import InputError, calibrate_world_model, evaluate_model, load_world_model
from imagine_cli.cli import main

SAMPLES = Path(__file__).parents[2] / "sample_models"
MODEL = SAMPLES / "pendulum-linear.pt"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real") / "real.h5"
    evaluate_model(MODEL, "Pendulum-v1", steps=100, trajectories=20, seed=3, record=path)
    return path


def test_the_band_holds_more_20_steps_ahead_and_one_step_is_what_it_was(
    data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "calibrated.pt"
    metadata = calibrate_world_model(MODEL, output, data=data)
    before, after = load_world_model(MODEL), load_world_model(output)
    assert after.model_error is not None
    assert metadata["model_error"]["persistence"] == pytest.approx(
        float(after.model_error.persistence)
    )
    x, u = torch.rand(7, 3).to(before.dtype), torch.rand(7, 1).to(before.dtype)
    for one, other in zip(before.conditional(x, u), after.conditional(x, u), strict=True):
        assert torch.equal(one, other)
    fresh = {"env_id": "Pendulum-v1", "steps": 20, "trajectories": 100, "seed": 4}
    after.model_error, error = None, after.model_error
    alone = evaluate_model(after, **fresh).models[0].scores
    after.model_error = error
    found = evaluate_model(after, **fresh).models[0].scores
    assert found.value("nll", 20) < alone.value("nll", 20) - 0.5
    assert found.value("coverage95", 20) > alone.value("coverage95", 20) + 0.05


def test_data_of_another_env_are_refused_and_nothing_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "calibrated.pt"
    with pytest.raises(InputError, match=r"is of Pendulum-v1, not of CartPole-v1"):
        calibrate_world_model(SAMPLES / "cartpole-gp.pt", output, data=data)
    assert main(["calibrate", "--model", str(MODEL), "--data", "none.h5", "-o", str(output)]) == 2
    assert "there is no file none.h5" in capsys.readouterr().err
    assert not output.exists()
