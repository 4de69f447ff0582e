"""The sample models follow the real envs they are models of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from imagine_cli import load_world_model
from imagine_cli.belief import ActionBelief, point
from imagine_cli.checkpoint import read_checkpoint
from imagine_cli.environments import describe, make_env
from imagine_cli.fitting.collect import collect
from imagine_cli.policies import make_policy

SAMPLES = Path(__file__).parents[1] / "sample_models"
MODELS = sorted(SAMPLES.glob("*.pt"))


def test_they_are_there_small_and_explained() -> None:
    assert {"pendulum-gp.pt", "cartpole-gp.pt"} <= {path.name for path in MODELS}
    assert sum(path.stat().st_size for path in MODELS) < 2_000_000
    text = (SAMPLES / "README.md").read_text()
    for path in MODELS:
        assert path.name in text
        command = read_checkpoint(path).metadata["command"]
        assert command.startswith("imagine fit --env ")
        assert command in text


@pytest.mark.parametrize("path", MODELS, ids=[path.stem for path in MODELS])
def test_its_95_percent_interval_covers_90_to_99_percent_of_fresh_transitions(path: Path) -> None:
    model, known = load_world_model(path), read_checkpoint(path).env
    env = make_env(known["id"], known["kwargs"])
    description = describe(env, known["kwargs"])
    policy = make_policy("random", description, seed=987_654)
    data = collect(env, policy, steps=3000, seed=987_654)
    with torch.no_grad():
        prediction = model.predict(
            point(torch.from_numpy(data.observations)),
            ActionBelief(torch.from_numpy(data.actions)),
        )
    sd = prediction.var.diagonal(dim1=-2, dim2=-1).sqrt().numpy()
    error = np.abs(data.next_observations - prediction.mean.numpy())
    covered = error <= 1.959963984540054 * sd
    assert 0.90 <= covered.mean() <= 0.99
    # and it is not by being vague: the model explains nearly all of what changes
    change = data.next_observations - data.observations
    assert (np.square(error).mean(0) < 0.05 * change.var(0)).all()
