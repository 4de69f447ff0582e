"""Trajectories that stop being finite: an error, or NaN beside others that go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli import ImagineError, InputError, open_rollout, run_rollout
from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.inspection.statistics import compute
from imagine_cli.propagation.base import Propagation, State
from imagine_cli.propagation.noise import Noise
from imagine_cli.propagation.particles import Particles
from imagine_cli.recording import schema, shard
from imagine_cli.world_models import WorldModel
from tests.helpers.linear_systems import linear_model

OPTIONS: dict[str, Any] = {"steps": 40, "seed": 1, "start": "reset"}


class Brittle(Propagation):
    """As ``inner``, but where the first dimension leaves ``limit`` it fails in some way."""

    name = "moments"

    def __init__(self, inner: Propagation, limit: float, how: str) -> None:
        self.inner, self.limit, self.how = inner, limit, how
        self.name = inner.name  # type: ignore[misc]

    def carried(self, model: WorldModel) -> Any:
        return self.inner.carried(model)

    def suited(self, model: WorldModel) -> Propagation:
        return self

    def begin(self, model: WorldModel, belief: Belief, noise: Noise) -> State:
        return self.inner.begin(model, belief, noise)

    def advance(
        self, model: WorldModel, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> Any:
        out = (belief.mean[:, 0].abs() > self.limit).unsqueeze(-1)
        # Not before the step has drawn, so that what it drew has to be drawn again.
        prediction, state = self.inner.advance(model, belief, action, state, noise)
        if self.how == "nan":
            mean = prediction.mean.clone()
            mean[:, 1:2] = torch.where(out, torch.nan, mean[:, 1:2])
            return prediction._replace(mean=mean), state
        if self.how == "inf":
            return prediction._replace(
                var=torch.where(out[..., None], torch.inf, prediction.var)
            ), state
        if self.how == "reward":
            assert prediction.reward_mean is not None
            reward = torch.where(out[:, 0], torch.nan, prediction.reward_mean)
            return prediction._replace(reward_mean=reward), state
        if out.any():
            raise ImagineError("the covariance is not one")
        return prediction, state


def roll(path: Path, propagation: Any, **changes: Any) -> tuple[Any, Any]:
    model = linear_model(3, 1, seed=1)
    summary = run_rollout(
        "Pendulum-v1", model, output=path, propagation=propagation, overwrite=True,
        **{"trajectories": 9, **OPTIONS, **changes},
    )  # fmt: skip
    with open_rollout(path) as rollout:
        return summary, (
            rollout.mean(),
            rollout.var(),
            rollout.action_mean(),
            rollout.reward_mean(),
        )


def inner(kind: str) -> Propagation:
    if kind == "particles":
        return Particles(particles=6)
    from imagine_cli.propagation.registry import make_propagation

    return make_propagation("moments", linear_model(3, 1))


@pytest.mark.parametrize("how", ["nan", "inf", "reward", "raise"])
@pytest.mark.parametrize("kind", ["moments", "particles"])
def test_masked_ones_end_and_the_others_are_the_same_to_the_bit(
    how: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_CHUNK_BYTES", 2048)
    monkeypatch.setattr(schema, "_LEAST_STEPS", 4)
    monkeypatch.setattr(shard, "_LEAST_BYTES", 2048)
    _, free = roll(tmp_path / "free.h5", inner(kind))
    reached = np.abs(free[0][:, :-1, 0])
    limit = float(np.sort(reached.max(1))[5])  # that 3 of 9 leave
    leaves = [np.flatnonzero(row > limit) for row in reached]
    first = [int(steps[0]) if len(steps) else None for steps in leaves]
    assert sum(step is not None for step in first) == 3
    files = []
    for together in (1, 4, 64):
        monkeypatch.setattr(shard, "_BATCH", together)
        with pytest.warns(UserWarning, match="3 of 9 trajectories stopped being finite"):
            summary, found = roll(
                tmp_path / "m.h5", Brittle(inner(kind), limit, how), on_nonfinite="mask"
            )
        files.append(found)
        assert summary.failed == 3
        for k, step in enumerate(first):
            there = 41 if step is None else step + 1
            for values, expected, last in zip(found, free, (0, 0, how != "raise", 0), strict=True):
                end = min(there if values.shape[1] == 41 else there - 1 + last, values.shape[1])
                assert np.array_equal(values[k, :end], expected[k, :end])
                assert np.isnan(values[k, end:]).all()
    assert all(
        np.array_equal(a, b, equal_nan=True)
        for other in files[1:]
        for a, b in zip(files[0], other, strict=True)
    )
    ends = np.isfinite(files[0][0][:, -1]).all(-1)
    var = np.diagonal(files[0][1][ends, -1], axis1=1, axis2=2)
    assert summary.end_sd == pytest.approx(np.sqrt(var.mean(0)), rel=1e-12)


@pytest.mark.parametrize("how", ["nan", "inf", "reward", "raise"])
def test_stopping_names_step_trajectory_and_dimension(how: str, tmp_path: Path) -> None:
    _, free = roll(tmp_path / "free.h5", inner("moments"))
    reached = np.abs(free[0][:, :-1, 0])
    limit = float(np.sort(reached.max(1))[5])
    step = int((reached > limit).any(0).argmax())
    trajectory = int((reached[:, step] > limit).argmax())
    place = {"raise": "the covariance is not one", "nan": "dimension sin", "inf": "dimension cos"}
    place["reward"] = "in its reward"
    with pytest.raises(
        ImagineError, match=f"at step {step + 1} of trajectory {trajectory}[,:] {place[how]}"
    ):
        roll(tmp_path / "r.h5", Brittle(inner("moments"), limit, how))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["free.h5"]


def test_none_that_gets_to_the_end_is_a_file_all_the_same(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="9 of 9 .* trajectory 0, at step 1: dimension sin"):
        summary, found = roll(
            tmp_path / "m.h5", Brittle(inner("moments"), -1.0, "nan"), on_nonfinite="mask"
        )
    assert summary.failed == 9
    assert np.isnan(summary.end_sd).all()
    assert np.isnan(found[0][:, 1:]).all()
    assert np.isfinite(found[2][:, 0]).all()


def test_inspecting_one_leaves_out_what_is_masked(tmp_path: Path) -> None:
    _, free = roll(tmp_path / "free.h5", inner("moments"))
    limit = float(np.sort(np.abs(free[0][:, :-1, 0]).max(1))[5])
    with pytest.warns(UserWarning, match="3 of 9"):
        _, found = roll(
            tmp_path / "m.h5", Brittle(inner("moments"), limit, "nan"), on_nonfinite="mask"
        )
    with open_rollout(tmp_path / "m.h5") as rollout:
        stats = compute(rollout)
    expected = np.nanmean(found[0], axis=0)[stats.observation.steps]
    assert stats.observation.mean == pytest.approx(expected, rel=1e-12)
    said = [finding.message for finding in stats.warnings if finding.kind == "not-finite"]
    assert said == ["3 of 9 trajectories stopped being finite before the end, NaN from there"]


def test_there_are_two_ways(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--on-nonfinite 'skip' is not stop or mask"):
        roll(tmp_path / "r.h5", None, on_nonfinite="skip")
