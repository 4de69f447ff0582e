"""Rollout files of every propagation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_cli import InputError, open_rollout, run_rollout
from imagine_cli.rollout import prepare
from tests.helpers.linear_systems import linear_model
from tests.helpers.worlds import linear_module, small_gp

WAYS: dict[str, dict[str, Any]] = {
    "moments": {},
    "linearized": {"propagation": "linearized"},
    "unscented": {"propagation": "unscented"},
    "particles": {"propagation": "particles", "particles": 30, "save_particles": True},
    "resampled": {
        "propagation": "particles", "particles": 30, "save_particles": True, "resample": True,
    },
}  # fmt: skip


def numbers(path: Path) -> dict[str, np.ndarray]:
    with open_rollout(path) as rollout:
        assert rollout.complete
        found = {"mean": rollout.mean(), "var": rollout.var(), "action": rollout.action_mean()}
        if "particles/observation" in rollout:
            found["particles"] = rollout.particles()
        if "reward/mean" in rollout:
            found |= {"reward": rollout.reward_mean(), "reward_var": rollout.reward_var()}
        return found


@pytest.mark.parametrize("model", ["gp", "linear"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_trajectory_is_the_same_to_the_bit_whatever_is_computed_beside_it(
    model: str, way: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wm = small_gp(3, 1, n=40) if model == "gp" else linear_model(3, 1)

    def roll(trajectories: int) -> dict[str, np.ndarray]:
        path = tmp_path / f"{trajectories}.h5"
        run_rollout(
            "Pendulum-v1", wm, steps=6, trajectories=trajectories, seed=3, output=path, **way,
            overwrite=True, start="mean=1,0,0;var=.1,.1,.1",
        )  # fmt: skip
        return numbers(path)

    many, few, one = roll(7), roll(3), roll(1)
    assert ("reward" in many) == (model == "linear")
    for name, values in many.items():
        assert np.isfinite(values).all()
        assert np.array_equal(values[:3], few[name]), name
        assert np.array_equal(values[:1], one[name])
    # two trajectories at a time
    particle = 3 if "resample" in way or model == "linear" else 4 + wm.member_size
    monkeypatch.setattr(prepare, "_NUMBERS", 2 * 30 * particle)
    for name, values in roll(7).items():
        assert np.array_equal(values, many[name])


@pytest.mark.parametrize("resample", [False, True])
def test_mean_and_covariance_are_those_of_the_particles_in_the_file(
    resample: bool, tmp_path: Path
) -> None:
    path = tmp_path / "r.h5"
    run_rollout(
        "Pendulum-v1", small_gp(3, 1), steps=5, trajectories=2, output=path,
        propagation="particles", particles=20, resample=resample, save_particles=True,
        start="mean=1,0,0;var=.1,.2,.3",
    )  # fmt: skip
    with open_rollout(path) as rollout:
        members = "random, resample" if resample else "fixed"
        assert rollout.propagation == f"particles(particles=20, members={members})"
        assert rollout.particle_count == 20
        particles = rollout.particles()
        mean, var = rollout.mean(), rollout.var()
    assert particles.shape == (2, 20, 6, 3)
    np.testing.assert_allclose(mean[:, 1:], particles.mean(1)[:, 1:], rtol=1e-12, atol=1e-14)
    for b in range(2):
        for t in range(1, 6):
            wanted = np.cov(particles[b, :, t], rowvar=False)
            np.testing.assert_allclose(var[b, t], wanted, rtol=1e-10, atol=1e-14)
    # the start is the belief that was given, and the particles are drawn from it
    assert np.array_equal(mean[0, 0], [1.0, 0.0, 0.0])
    assert np.array_equal(var[0, 0], np.diag([0.1, 0.2, 0.3]))
    assert (np.abs(particles[:, :, 0].mean((0, 1)) - mean[0, 0]) < 4 * np.sqrt(0.3 / 40)).all()
    assert len(np.unique(particles[:, :, 0, 0])) == 40


def test_the_file_says_what_was_used_and_has_particles_only_when_asked(tmp_path: Path) -> None:
    for name, said in (
        ("linearized", "linearized"),
        ("unscented", "unscented(alpha=1, beta=0, kappa=max(3-E,0))"),
        ("particles", "particles(particles=100, members=fixed)"),
        (None, "moments"),
    ):
        path = tmp_path / f"{name}.h5"
        run_rollout("Pendulum-v1", small_gp(3, 1), steps=2, output=path, propagation=name)
        with open_rollout(path) as rollout:
            assert rollout.propagation == said
            assert "particles/observation" not in rollout


def test_a_linear_models_rewards_are_in_the_file(tmp_path: Path) -> None:
    found = {}
    for name in ("moments", "linearized", "unscented"):
        path = tmp_path / f"{name}.h5"
        run_rollout(
            "Pendulum-v1", linear_model(3, 1), steps=4, trajectories=2, output=path,
            propagation=name, start="mean=1,0,0;var=.1,.1,.1",
        )  # fmt: skip
        found[name] = numbers(path)
    for name in ("linearized", "unscented"):
        for key, wanted in found["moments"].items():
            np.testing.assert_allclose(found[name][key], wanted, rtol=1e-10, atol=1e-12)


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    refused: list[tuple[Any, dict[str, Any], str]] = [
        (small_gp(3, 1), {"save_particles": True}, "the propagation is moments; give"),
        (small_gp(3, 1), {"propagation": "x"}, "no propagation 'x'"),
        (small_gp(3, 1), {"particles": 5}, "particles belongs to another propagation"),
        (linear_module(3, 1), {"propagation": "particles"}, "can't be asked there"),
        (linear_module(3, 1), {"save_particles": True}, "the propagation is module"),
    ]
    for model, arguments, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            run_rollout("Pendulum-v1", model, steps=2, output=path, **arguments)
    assert not list(tmp_path.iterdir())
