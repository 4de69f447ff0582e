"""The loop with the real env: its folder, its counts, and what a kill leaves of it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from imagine_cli import InputError, learn_policy, open_rollout
from imagine_cli.cli import main
from imagine_cli.registry import METHODS
from imagine_cli.search.learn import parse_until
from imagine_cli.search.methods import Method

OPTIONS: dict[str, Any] = {
    "method": "quick", "reward": "quadratic:target=1,0,0;weight=1,1,0.1", "rounds": 2,
    "random_steps": 120, "trial_steps": 30, "horizon": 5, "iterations": 2, "seed": 4,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method whose model is fitted in no time."""
    own = {**METHODS.own, "quick": f"{__name__}:QUICK"}
    monkeypatch.setitem(METHODS.__dict__, "own", own)


QUICK = Method("linear", "linear")


def test_every_round_has_its_files_and_every_real_step_counts(tmp_path: Path) -> None:
    learned = learn_policy("Pendulum-v1", tmp_path / "run", log="tensorboard", **OPTIONS)
    logged = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload().Scalars("real_return")
    assert [(one.step, one.value) for one in logged] == [
        (one.real_steps, pytest.approx(one.real_return, rel=1e-6)) for one in learned.rounds
    ]  # which are float32 there
    assert [one.number for one in learned.rounds] == [0, 1, 2]
    steps = 0
    for one in learned.rounds:
        place = tmp_path / "run" / f"round-{one.number:02d}"
        there = sorted(path.name for path in place.iterdir())
        learnt = ["policy.pt", "real.h5", "round.json", "wm.pt"]
        assert there == (["real.h5", "round.json"] if one.number == 0 else learnt)
        with open_rollout(place / "real.h5") as rollout:
            taken = np.isfinite(rollout.reward_mean())
            steps += int(taken.sum())
            returns = np.nansum(rollout.reward_mean(), axis=1)
        assert one.real_steps == steps
        assert one.real_return == pytest.approx(returns.mean(), rel=1e-12)
        assert (one.imagined_return is None) == (one.number == 0)
    assert learned.rounds[0].real_steps == 120
    assert learned.policy == tmp_path / "run" / "round-02" / "policy.pt"
    with open(tmp_path / "run" / "learning.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["real_return"]) for line in lines] == [
        one.real_return for one in learned.rounds
    ]


def test_what_a_kill_left_is_gone_on_from_to_the_same_policy(tmp_path: Path) -> None:
    whole = learn_policy("Pendulum-v1", tmp_path / "whole", **OPTIONS)
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    for name in ("round-02/round.json", "round-02/real.h5", "round-02/policy.pt"):
        (tmp_path / "run" / name).unlink()
    again = learn_policy("Pendulum-v1", tmp_path / "run", resume=True, **OPTIONS)
    for one, other in zip(whole.rounds, again.rounds, strict=True):
        assert one.real_return == other.real_return
        assert one.imagined_return == other.imagined_return
        assert one.real_steps == other.real_steps
    more = learn_policy("Pendulum-v1", tmp_path / "run", resume=True, **{**OPTIONS, "rounds": 3})
    assert [one.number for one in more.rounds] == [0, 1, 2, 3]


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    learn_policy("Pendulum-v1", tmp_path / "run", **{**OPTIONS, "rounds": 1})
    with pytest.raises(InputError, match="has a run in it; go on with it by --resume"):
        learn_policy("Pendulum-v1", tmp_path / "run", **OPTIONS)
    with pytest.raises(InputError, match="its --seed is 4, and now it is 5"):
        learn_policy("Pendulum-v1", tmp_path / "run", resume=True, **{**OPTIONS, "seed": 5})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("")
    with pytest.raises(InputError, match="has other files in it"):
        learn_policy("Pendulum-v1", tmp_path / "other", **OPTIONS)
    with pytest.raises(InputError, match="does not exist; make it first"):
        learn_policy("Pendulum-v1", tmp_path / "a" / "b", **OPTIONS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"until": "return is 3"}, "is not like 'return >= 900'"),
        ({"method": "sac"}, "no method 'sac' of learning; there is pilco"),
        ({"rounds": 0}, "--rounds is 0"),
        ({"log": "wandb"}, "--log 'wandb' is not tensorboard"),
        ({"random_steps": 10}, "--random-steps is 10; it must be 50 or more"),
        ({"fit": {"hidden": 64}}, "hidden is no option of the kind 'linear'"),
    ],
)
def test_what_is_refused(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        learn_policy("Pendulum-v1", tmp_path / "run", **{**OPTIONS, **change})
    assert not list(tmp_path.iterdir())


def test_until() -> None:
    assert parse_until("return >= -200")(-200.0)
    assert not parse_until("return > -200")(-200.0)
    assert parse_until("return>1e2")(101.0)
    assert not parse_until(None)(np.inf)


def test_the_command_says_whether_it_was_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["learn", "--env", "Pendulum-v1", "--method", "quick", "-q", "--rounds", "3",
                 "--random-steps", "100", "--trial-steps", "10", "--horizon", "3",
                 "--iterations", "1", "--reward", OPTIONS["reward"]]  # fmt: skip
    run = str(tmp_path / "run")
    assert main([*arguments, "-o", run, "--until", "return >= -1e9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["enough"] is True
    assert len(found["rounds"]) == 2
    assert main([*arguments, "-o", run, "--until", "return >= 0", "--resume"]) == 1
    out = capsys.readouterr().out
    assert "real steps" in out
    assert out.rstrip().endswith("policy.pt")
