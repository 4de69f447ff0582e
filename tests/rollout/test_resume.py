"""An interrupted rollout is gone on from, to the bytes of one that was not interrupted."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_cli import InputError, run_rollout
from imagine_cli.belief import Belief
from imagine_cli.errors import Interrupted
from imagine_cli.recording import open_rollout, schema, shard
from tests.helpers.ensembles import random_ensemble
from tests.helpers.latent_worlds import latent_model
from tests.helpers.linear_systems import linear_model
from tests.helpers.worlds import linear_module, small_gp

MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gp": (small_gp(3, 1), {}),
    "gp, unscented": (small_gp(3, 1), {"propagation": "unscented"}),
    "gp, linearized": (small_gp(3, 1), {"propagation": "linearized", "policy": "zero"}),
    "linear, with a reward": (linear_model(3, 1), {"dtype": "float32"}),
    "particles": (
        linear_model(3, 1),
        {"propagation": "particles", "particles": 7, "save_particles": True},
    ),
    "functions of a gp": (small_gp(3, 1), {"propagation": "particles", "particles": 5}),
    "resampled": (linear_model(3, 1), {"propagation": "particles", "particles": 7,
                                       "resample": True}),
    "ensemble": (random_ensemble(3, 1), {"particles": 7}),
    "a latent state": (latent_model(), {"particles": 7}),
    "planned": (
        linear_model(3, 1),
        {"policy": "icem:horizon=2,candidates=6,elites=3,iterations=1,particles=2"},
    ),
    "a module": (linear_module(3, 1), {}),
}  # fmt: skip


class Noon(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Noon:
        return cls(2026, 1, 1, 12, tzinfo=tz)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of a few steps and trajectories, and one time for all."""
    monkeypatch.setattr(schema, "_CHUNK_BYTES", 1024)
    monkeypatch.setattr(schema, "_LEAST_STEPS", 4)
    monkeypatch.setattr(shard, "_LEAST_CHUNK_BYTES", 700)
    monkeypatch.setattr(shard, "_LEAST_BYTES", 1024)
    monkeypatch.setattr(shard, "_BATCH", 3)
    monkeypatch.setattr(schema, "datetime", Noon)


class After:
    """Stops a rollout before so many blocks; counts all of them."""

    def __init__(self, blocks: float) -> None:
        self.blocks, self.seen = blocks, 0

    def __call__(self) -> None:
        self.seen += 1
        if self.seen > self.blocks:
            raise Interrupted("interrupted")


def roll(path: Path, model: Any, stop: After | None = None, **options: Any) -> Any:
    settings: dict[str, Any] = {"steps": 37, "trajectories": 7, "seed": 5, **options}
    return run_rollout("Pendulum-v1", model, output=path, on_block=stop, **settings)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", MODELS)
def test_it_becomes_what_it_would_have_been_to_the_byte(name: str, tmp_path: Path) -> None:
    model, options = MODELS[name]
    all_blocks = After(np.inf)
    whole = roll(tmp_path / "whole.h5", model, all_blocks, **options)
    assert all_blocks.seen >= 3
    path, partial = tmp_path / "r.h5", tmp_path / "r.h5.partial"
    last = all_blocks.seen - 1
    for blocks in sorted({last // 3, 2 * last // 3, last}):
        with pytest.raises(Interrupted):
            roll(path, model, After(blocks), **options)
        assert not path.exists()
        if partial.exists():
            with open_rollout(partial) as rollout:
                assert not rollout.complete
                assert np.isfinite(rollout.var(0, 0)).all()
        summary = roll(path, model, resume=True, **options)
        assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
        assert summary.end_sd == pytest.approx(whole.end_sd, rel=1e-12, nan_ok=True)
        path.unlink()
    assert os.listdir(tmp_path) == ["whole.h5"]


@pytest.mark.parametrize("name", MODELS)
def test_no_shard_is_imagined_twice(name: str, tmp_path: Path) -> None:
    model, options = MODELS[name]
    everything, rest = After(np.inf), After(np.inf)
    roll(tmp_path / "whole.h5", model, everything, **options)
    with pytest.raises(Interrupted):
        roll(tmp_path / "r.h5", model, After(everything.seen - 3), **options)
    there = sorted(path.name for path in (tmp_path / "r.h5.partial").glob("shard-*"))
    assert len(there) == everything.seen - 3
    roll(tmp_path / "r.h5", model, rest, resume=True, **options)
    assert rest.seen == 3
    assert (tmp_path / "r.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_it_can_be_interrupted_again_and_again_also_while_it_catches_up(tmp_path: Path) -> None:
    model = linear_model(3, 1)
    roll(tmp_path / "whole.h5", model)
    path = tmp_path / "r.h5"
    for blocks in (2, 0, 1, 0, 1):
        with pytest.raises(Interrupted):
            roll(path, model, After(blocks), resume=True)
    steps: list[int] = []

    def give_up(trajectories: int, var: Any) -> None:
        steps.append(trajectories)
        raise KeyboardInterrupt

    before = contents(tmp_path / "r.h5.partial")
    with pytest.raises(KeyboardInterrupt):
        roll(path, model, resume=True, on_step=give_up)
    assert len(steps) == 1
    assert contents(tmp_path / "r.h5.partial") == before
    roll(path, model, resume=True)
    assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["r.h5", "whole.h5"]


def test_every_step_is_reported_whether_imagined_or_taken_over(tmp_path: Path) -> None:
    seen: list[tuple[int, np.ndarray]] = []

    def on_step(trajectories: int, belief: Belief) -> None:
        seen.append((trajectories, belief.var.numpy().copy()))

    model = small_gp(3, 1)
    roll(tmp_path / "whole.h5", model, on_step=on_step)
    expected = list(seen)
    with pytest.raises(Interrupted):
        roll(tmp_path / "r.h5", model, After(5))
    seen.clear()
    roll(tmp_path / "r.h5", model, resume=True, on_step=on_step)
    assert len(seen) == len(expected)
    for (n, var), (m, other) in zip(seen, expected, strict=True):
        assert n == m
        assert np.array_equal(var, other)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"seed": 6}, "its --seed is '5', and now it is '6'"),
        ({"steps": 36}, "its --steps is"),
        ({"policy": "zero"}, "its --policy is"),
        ({"on_nonfinite": "mask"}, "its --on-nonfinite is"),
    ],
)
def test_another_rollout_is_not_gone_on_with(
    change: dict[str, Any], what: str, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        roll(tmp_path / "r.h5", linear_model(3, 1), After(3))
    before = contents(tmp_path / "r.h5.partial")
    with pytest.raises(InputError, match=f"is of another rollout: {what}") as caught:
        roll(tmp_path / "r.h5", linear_model(3, 1), resume=True, **change)
    assert caught.value.exit_status == 2
    assert os.listdir(tmp_path) == ["r.h5.partial"]
    assert contents(tmp_path / "r.h5.partial") == before


def test_one_of_version_01_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "r.h5.partial").write_bytes(b"\x89HDF\r\n\x1a\nand then nothing")
    with pytest.raises(InputError, match="can't be gone on from; leave out --resume"):
        roll(tmp_path / "r.h5", linear_model(3, 1), resume=True)


def test_without_resume_it_begins_anew_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        roll(tmp_path / "r.h5", linear_model(3, 1), After(3))
    with pytest.warns(UserWarning, match="is replaced; with --resume it would have been gone on"):
        roll(tmp_path / "r.h5", linear_model(3, 1))
    assert os.listdir(tmp_path) == ["r.h5"]
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert rollout.complete


def test_with_nothing_to_go_on_from_it_begins(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no .*a.h5.partial to go on from; .* begins anew"):
        roll(tmp_path / "a.h5", linear_model(3, 1), resume=True)
    roll(tmp_path / "b.h5", linear_model(3, 1))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_an_error_of_its_own_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_rollout("Pendulum-v1", linear_model(3, 1), output=tmp_path / "r.h5", on_block=fail)
    assert os.listdir(tmp_path) == []


def test_what_no_disk_can_hold_is_refused_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="have means of .* GB alone, and .* has room for .* GB"):
        roll(tmp_path / "r.h5", linear_model(3, 1), steps=10**12)
    assert os.listdir(tmp_path) == []
