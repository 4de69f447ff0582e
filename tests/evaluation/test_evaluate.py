from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import stats

import imagine_cli
from imagine_cli import InputError, evaluate_model, open_rollout, save_world_model
from imagine_cli.cli import main
from imagine_cli.environments import describe, make_env, reset_seed
from imagine_cli.evaluation.baselines import fit_linear_gaussian, linear_gaussian
from imagine_cli.evaluation.real import (
    RealRun,
    as_real_run,
    evaluation_seed,
    read_real,
    run_real,
    write_real,
)
from imagine_cli.inspection.statistics import compute
from imagine_cli.policies import make_policy
from imagine_cli.recording import RolloutWriter
from imagine_cli.transitions.join import join
from tests.helpers.linear_world import ENV_ID, A, B, Q, linear_model
from tests.helpers.worlds import small_gp

MANY, STEPS = 1500, 8


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of the linear-Gaussian env."""
    path = tmp_path_factory.mktemp("real") / "real.h5"
    evaluate_model(linear_model(), ENV_ID, steps=STEPS, trajectories=MANY, record=path)
    return path


def _read(path: Path, env_id: str = ENV_ID) -> RealRun:
    found = read_real(path)
    return as_real_run(join([found], describe(make_env(env_id)), reward=False), found.steps)


def p_of_coverage(scores: Any) -> list[float]:
    """The binomial test's p of every interval of every horizon and dimension, joint ones too."""
    found = []
    for level in (50, 90, 95):
        shares = [
            *scores.marginal[f"coverage{level}"].ravel(),
            *scores.joint[f"mahalanobis{level}"],
        ]
        found += [
            stats.binomtest(round(share * MANY), MANY, level / 100).pvalue for share in shares
        ]
    return found


def p_of_pit(scores: Any) -> list[float]:
    """The chi-square test's p for every horizon, of each dimension and of both together."""
    every = [*scores.pit.reshape(-1, 20), *scores.joint_pit]
    return [float(stats.chisquare(counts).pvalue) for counts in every]


def test_a_perfect_model_is_found_to_be_one_at_every_horizon(recorded: Path) -> None:
    scores = evaluate_model(linear_model(), real=recorded).models[0].scores
    assert scores.count.tolist() == [MANY] * STEPS
    coverage, pit = p_of_coverage(scores), p_of_pit(scores)
    assert min(coverage) > 0.01 / len(coverage)
    assert min(pit) > 0.01 / len(pit)
    assert np.median(coverage) > 0.2
    assert scores.marginal["calibration"].max() < 0.025
    var = np.zeros((2, 2))
    for h in range(1, STEPS + 1):
        var = A @ var @ A.T + Q
        entropy = 0.5 * np.log(np.linalg.det(2 * np.pi * np.e * var))
        assert scores.value("nll", h) == pytest.approx(entropy, abs=4 / np.sqrt(MANY))
        width = 2 * stats.norm.ppf(0.95) * np.sqrt(np.diag(var))
        np.testing.assert_allclose(scores.marginal["sharpness"][h - 1], width, rtol=1e-12)


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_halved_and_doubled_variances_are_caught_at_every_horizon(
    recorded: Path, spread: float
) -> None:
    right, wrong = (
        evaluate_model(linear_model(factor), real=recorded).models[0].scores
        for factor in (1.0, spread)
    )
    for h in range(STEPS):
        for share in (*wrong.marginal["coverage90"][h], wrong.joint["mahalanobis90"][h]):
            assert stats.binomtest(round(share * MANY), MANY, 0.9).pvalue < 1e-6
            assert (share < 0.9) == (spread < 1)
        every = [*wrong.pit[h], wrong.joint_pit[h]]
        assert max(float(stats.chisquare(counts).pvalue) for counts in every) < 1e-6
        for metric in ("nll", "energy", "crps", "calibration"):
            assert wrong.joint[metric][h] > right.joint[metric][h]
        assert wrong.joint["rmse"][h] == right.joint["rmse"][h]


def test_a_shifted_model_has_the_shifts_bias_and_ranks_below(recorded: Path) -> None:
    found = evaluate_model([linear_model(shift=0.3), linear_model()], real=recorded)
    better, worse = found.models
    assert [better.name, worse.name] == ["TensorDictModule (2)", "TensorDictModule"]
    assert better.score < worse.score
    shift = np.zeros(2)
    for h in range(STEPS):
        shift = A @ shift + 0.3
        moved = worse.scores.marginal["bias"][h] - better.scores.marginal["bias"][h]
        np.testing.assert_allclose(moved, shift, rtol=1e-9)


def test_the_linear_baseline_is_least_squares_and_as_good_as_the_truth(recorded: Path) -> None:
    fitted = fit_linear_gaussian(_read(recorded))
    np.testing.assert_allclose(fitted.a, A, atol=0.02)
    np.testing.assert_allclose(fitted.b, B, atol=0.02)
    np.testing.assert_allclose(fitted.q, Q, atol=0.005)
    np.testing.assert_allclose(fitted.c, 0, atol=0.01)
    found = evaluate_model(linear_model(), real=recorded)
    truth, baseline = found.models[0].scores, found.baselines["linear-Gaussian"]
    np.testing.assert_allclose(baseline.joint["crps"], truth.joint["crps"], rtol=0.01)
    assert p_of_pit(baseline)
    assert min(p_of_pit(baseline)) > 0.01 / (3 * STEPS)


def test_where_a_model_stops_beating_the_baselines(recorded: Path) -> None:
    found = evaluate_model(linear_model(shift=0.35), real=recorded)
    report = found.models[0]
    for name, against in report.against.items():
        mine, theirs = (s.marginal["crps"] for s in (report.scores, found.baselines[name]))
        np.testing.assert_allclose(against.skill, 1 - mine / theirs)
        for d in range(2):
            losing = np.flatnonzero(mine[:, d] >= theirs[:, d])
            assert against.ahead[d] == (losing[0] if len(losing) else STEPS)
    assert 0 < report.against["no change"].ahead_overall < STEPS
    assert report.against["linear-Gaussian"].ahead_overall == 0


def test_no_change_scores_the_distance_from_the_start(recorded: Path) -> None:
    run = _read(recorded)
    still = evaluate_model(linear_model(), real=recorded).baselines["no change"]
    moved = run.observations[:, 1:] - run.observations[:, :1]
    np.testing.assert_allclose(still.marginal["crps"], np.abs(moved).mean(0), rtol=1e-12)
    np.testing.assert_allclose(still.joint["energy"], np.linalg.norm(moved, axis=-1).mean(0))


def test_the_recorded_run_gives_the_same_numbers_to_the_bit(tmp_path: Path) -> None:
    asked = {"steps": 6, "trajectories": 9, "seed": 3}
    gp = small_gp(2, 1)
    direct = evaluate_model(gp, ENV_ID, record=tmp_path / "real.h5", **asked)
    again = evaluate_model(gp, real=tmp_path / "real.h5")
    assert numbers(direct) == numbers(again)
    assert again.seed == 3
    fewer = evaluate_model(gp, real=tmp_path / "real.h5", steps=2, trajectories=4)
    assert (fewer.steps, fewer.trajectories) == (2, 4)


def numbers(found: Any) -> str:
    document = found.as_dict()
    for model in document["models"]:
        del model["seconds"]
    return json.dumps(document, default=lambda array: array.tolist())


def test_trajectories_that_end_early_are_masked(tmp_path: Path) -> None:
    path = tmp_path / "real.h5"
    found = evaluate_model(
        linear_model(), ENV_ID, steps=12, trajectories=60, env_kwargs={"limit": 0.8}, record=path
    )
    assert 0 < (found.lengths < 12).sum() < 60
    counts = found.models[0].scores.count
    assert counts.tolist() == [int((found.lengths >= h).sum()) for h in range(1, 13)]
    with open_rollout(path) as rollout:
        means, actions = rollout.mean(), rollout.action_mean()
        assert rollout.attributes["real"]
        assert (rollout.var() == 0).all()
    for k, length in enumerate(found.lengths):
        assert np.isfinite(means[k, : length + 1]).all()
        assert np.isnan(means[k, length + 1 :]).all()
        assert length == 12 or means[k, length, 0] > 0.8
    assert np.isfinite(actions).all()
    assert _read(path).lengths.tolist() == found.lengths.tolist()


def test_the_real_run_is_what_the_env_does(tmp_path: Path) -> None:
    env = make_env("Pendulum-v1")
    about = describe(env)
    policy = make_policy("random", about, seed=5)
    run = run_real(env, about, policy, steps=4, trajectories=3, seed=5)
    for k in range(3):
        observation = env.reset(seed=reset_seed(5, k))[0]
        assert (run.observations[k, 0] == observation).all()
        for step in range(4):
            observation, reward, *_ = env.step(run.actions[k, step].astype(np.float32))
            assert (run.observations[k, step + 1] == observation).all()
            assert run.rewards is not None
            assert run.rewards[k, step] == reward
    write_real(run, tmp_path / "real.h5", about, policy="random", seed=5, command="test")
    back = _read(tmp_path / "real.h5", "Pendulum-v1")
    assert (back.observations == run.observations).all()
    assert (back.actions == run.actions).all()
    with open_rollout(tmp_path / "real.h5") as rollout:
        assert rollout.attributes["command"] == "test"


def test_evaluation_never_sees_the_episodes_of_a_fit_with_the_same_seed() -> None:
    fitted = {reset_seed(0, k) for k in range(200)}
    evaluated = {reset_seed(evaluation_seed(0), k) for k in range(200)}
    assert not fitted & evaluated
    assert evaluation_seed(0) != evaluation_seed(1)


def test_the_imagined_rollout_has_the_real_starts_and_actions(tmp_path: Path) -> None:
    real, imagined = tmp_path / "real.h5", tmp_path / "imagined.h5"
    found = evaluate_model(
        linear_model(2.0), ENV_ID, steps=5, trajectories=4, record=real, imagined=imagined
    )
    with open_rollout(real) as one, open_rollout(imagined) as other:
        assert (one.mean(step=0) == other.mean(step=0)).all()
        assert (one.action_mean() == other.action_mean()).all()
        error = other.mean()[:, 1:] - one.mean()[:, 1:]
        rmse = np.sqrt(np.mean(error**2, axis=(0, 2)))
    np.testing.assert_allclose(found.models[0].scores.joint["rmse"], rmse, rtol=1e-12)


@pytest.mark.parametrize("name", ["pendulum-gp", "pendulum-linear", "cartpole-gp"])
def test_returns_are_those_of_the_two_files(name: str, tmp_path: Path) -> None:
    """With the env's own reward, a learned one, and where episodes end early."""
    real, imagined = tmp_path / "real.h5", tmp_path / "imagined.h5"
    model = Path(__file__).parents[2] / "sample_models" / f"{name}.pt"
    found = evaluate_model(model, steps=40, trajectories=12, record=real, imagined=imagined)
    assert (found.lengths < 40).any() == (name == "cartpole-gp")
    scores = found.models[0].scores
    with open_rollout(real) as one, open_rollout(imagined) as other:
        rewards = one.reward_mean()
        there = np.isfinite(rewards)
        both = [np.where(there, rollout.reward_mean(), 0.0) for rollout in (other, one)]
    assert scores.returns is not None
    np.testing.assert_allclose(scores.returns, [values.sum(1) for values in both], rtol=1e-12)
    for horizon in (1, 20, 40):
        apart = (both[0] - both[1])[:, :horizon].sum(1)
        mean, error = apart.mean(), stats.sem(apart)
        assert scores.value("return_bias", horizon) == pytest.approx(mean, rel=1e-9, abs=1e-12)
        if error > 1e-6:
            low, high = stats.t(11, mean, error).interval(0.95)
            assert scores.interval("return_bias", horizon) == pytest.approx((low, high), rel=1e-5)
    document = found.as_dict()["models"][0]["return"]
    assert document["real"]["mean"] == pytest.approx(both[1].sum(1).mean())
    assert document["interval"] == scores.interval("return_bias", 40)


def test_where_no_reward_is_known_there_is_no_return(recorded: Path, capsys: Any) -> None:
    from imagine_cli.cli.evaluate_tables import print_evaluation

    found = evaluate_model(linear_model(), real=recorded)
    assert found.models[0].scores.returns is None
    assert found.as_dict()["models"][0]["return"] is None
    print_evaluation(found, dimensions=False)
    assert "return" not in capsys.readouterr().out


def test_of_many_dimensions_ten_are_shown(recorded: Path, capsys: Any, monkeypatch: Any) -> None:
    from imagine_cli.cli import tables
    from imagine_cli.cli.evaluate_tables import print_evaluation

    def heads(out: str) -> list[str]:
        return [line.split(":")[0] for line in out.splitlines() if ": beats " in line]

    found = evaluate_model(linear_model(), real=recorded)
    print_evaluation(found, dimensions=True)
    assert heads(capsys.readouterr().out) == ["x0", "x1"]
    monkeypatch.setattr(tables, "MOST_DIMENSIONS", 1)
    print_evaluation(found, dimensions=True)
    assert "10 of 2 dimensions, the least ahead of no change" in capsys.readouterr().out


def test_a_discrete_env_that_terminates(tmp_path: Path) -> None:
    found = evaluate_model(small_gp(4, 2), "CartPole-v1", steps=30, trajectories=5)
    assert (found.lengths < 30).any()
    assert np.isfinite(found.models[0].scores.joint["rmse"][: found.lengths.max()]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the world model does not say of which env it is; give --env"),
        ({"env_id": ENV_ID, "steps": 0}, "--steps is 0"),
        ({"env_id": ENV_ID, "real": "x", "record": "y"}, "give one of them"),
        ({"env_id": ENV_ID, "imagined": "x", "record": "x"}, "can't both write x"),
        ({"env_id": "Pendulum-v1", "real": "REAL"}, "LinearWorld-v0, not of Pend"),
        ({"real": "REAL", "steps": 9}, "has 8 steps and --steps asks for 9"),
        ({"real": "REAL", "trajectories": 2000}, "has 1500 trajectories"),
    ],
)
def test_unusable_arguments(recorded: Path, options: dict[str, Any], message: str) -> None:
    given = {key: recorded if value == "REAL" else value for key, value in options.items()}
    with pytest.raises(InputError, match=message):
        evaluate_model(linear_model(), **given)


def test_an_imagined_file_is_not_taken_for_a_real_one(tmp_path: Path) -> None:
    path = tmp_path / "imagined.h5"
    evaluate_model(linear_model(), ENV_ID, steps=2, trajectories=2, imagined=path)
    with pytest.raises(InputError, match="is an imagined rollout, not a real one"):
        read_real(path)


def test_a_real_file_with_a_hole_is_refused(tmp_path: Path) -> None:
    env = make_env(ENV_ID)
    about = describe(env)
    run = run_real(env, about, make_policy("zero", about, seed=0), steps=4, trajectories=2, seed=0)
    run.observations[1, 2] = np.nan
    write_real(run, tmp_path / "real.h5", about, policy="zero", seed=0, command="test")
    with pytest.raises(InputError, match="trajectory 1 has an observation missing"):
        read_real(tmp_path / "real.h5")


def test_a_model_that_fails_is_named(tmp_path: Path) -> None:
    path = tmp_path / "imagined.h5"
    with pytest.raises(imagine_cli.ImagineError, match="TensorDictModule: the belief is not fin"):
        evaluate_model(
            linear_model(shift=float("inf")), ENV_ID, steps=2, trajectories=2, imagined=path
        )
    assert not path.exists()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "wm.pt"
    env = make_env("Pendulum-v1")
    save_world_model(small_gp(3, 1), path, env=describe(env))
    return path


def command(*words: Any) -> int:
    return main(["evaluate", *map(str, words), "-n", "6", "--steps", "7", "--quiet"])


def test_the_command_prints_tables(checkpoint: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert command("--env", "Pendulum-v1", "--model", checkpoint, "--dimensions") == 0
    printed = capsys.readouterr().out
    assert "6 real trajectories of up to 7 steps of Pendulum-v1" in printed
    for word in (
        "RMSE",
        "CRPS",
        "energy",
        "theta_dot: beats no change until step",
        "calibration",
        "propagation",
        "moments",
        "PIT",
    ):
        assert word in printed


def test_the_command_is_the_python_call(checkpoint: Path, capsys: Any, tmp_path: Path) -> None:
    real = tmp_path / "real.h5"
    assert (
        command("--env", "Pendulum-v1", "--model", checkpoint, "--model", checkpoint,
                "--record", real, "--seed", 4, "--json")
        == 0
    )  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    found = evaluate_model(checkpoint, "Pendulum-v1", steps=7, trajectories=6, seed=4)
    scores = found.models[0].scores
    assert [model["name"] for model in document["models"]] == [
        str(checkpoint),
        f"{checkpoint} (2)",
    ]
    assert document["horizons"] == [1, 2, 3, 4, 5, 6, 7]
    for model in document["models"]:
        assert model["overall"]["energy"] == scores.joint["energy"].tolist()
        theta_dot = model["dimensions"]["theta_dot"]
        assert theta_dot["crps"] == scores.marginal["crps"][:, 2].tolist()
        assert np.sum(theta_dot["pit"], axis=-1).tolist() == [6] * 7
        assert np.sum(model["overall"]["pit"], axis=-1).tolist() == [6] * 7
    assert real.exists()
    assert command("--env", "Pendulum-v1", "--model", checkpoint, "--record", real) == 2
    assert "exists; give --force" in capsys.readouterr().err


def test_a_writer_that_fails_leaves_no_real_file(tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise imagine_cli.ImagineError("the disk is full")

    monkeypatch.setattr(RolloutWriter, "write", fail)
    with pytest.raises(imagine_cli.ImagineError, match="the disk is full"):
        evaluate_model(linear_model(), ENV_ID, steps=2, record=tmp_path / "real.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [75, 80, 100, 160])
def test_no_table_is_wider_than_the_terminal(
    recorded: Path, width: int, monkeypatch: Any, capsys: Any
) -> None:
    from imagine_cli.cli.evaluate_tables import print_evaluation

    monkeypatch.setenv("COLUMNS", str(width))
    found = evaluate_model(linear_model(), real=recorded)
    for report in found.models:
        report.scores.joint["nll"][:] *= 1e-3  # wide cells
    print_evaluation(found, dimensions=True)
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "RMSE" in printed.splitlines()[2]
    if width <= 80:
        assert f"left out at {width} columns, and in --json: " in printed
    tables = [line for line in printed.splitlines()[1:] if line[:1] in " 0123456789"]
    assert max(map(len, tables)) <= width


def test_inspect_reads_a_real_run_that_ends_early(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "real.h5"
    found = evaluate_model(
        linear_model(), ENV_ID, steps=12, trajectories=60, env_kwargs={"limit": 0.8}, record=path
    )
    with open_rollout(path) as rollout:
        stats, means, rewards = compute(rollout), rollout.mean(), rollout.reward_mean()
    assert stats.warnings == []
    assert stats.reward is not None
    assert (found.lengths < 12).any()
    there = np.isfinite(means).all(-1)
    for place, step in enumerate(stats.observation.steps):
        wanted = means[there[:, step], step].mean(0)
        np.testing.assert_allclose(stats.observation.mean[place], wanted, rtol=1e-12)
    np.testing.assert_allclose(stats.observation.course_mean, np.nanmean(means, axis=0))
    np.testing.assert_allclose(stats.reward.course_mean[:, 0], np.nanmean(rewards, axis=0))
    assert main(["inspect", str(path)]) == 0
    printed = capsys.readouterr()
    assert "nan" not in printed.out
    assert printed.err == ""


def test_a_linear_baseline_that_overflows_is_infinitely_bad() -> None:
    """One long trajectory that stays at 0 and some short ones that double at every step."""
    steps = 1200
    observations = np.full((4, steps + 1, 1), np.nan)
    observations[0] = 0.0
    for k, start in enumerate((0.1, 0.3, 0.7), start=1):
        observations[k, :11, 0] = start * 2.0 ** np.arange(11)
    run = RealRun(observations, np.zeros((4, steps, 1)), None, np.array([steps, 10, 10, 10]))
    scores = linear_gaussian(run)
    assert np.isfinite(scores.marginal["crps"][:10]).all()
    assert scores.marginal["crps"][-1, 0] == np.inf
    assert not np.isnan(scores.marginal["rmse"]).any()


@pytest.fixture
def real_pendulum(tmp_path: Path) -> Path:
    """A short real run, to be spoilt."""
    path = tmp_path / "real.h5"
    evaluate_model(small_gp(3, 1), "Pendulum-v1", steps=2, trajectories=2, record=path)
    return path


def test_a_real_file_cannot_have_a_module_imported(real_pendulum: Path) -> None:
    with h5py.File(real_pendulum, "r+") as file:
        file.attrs["env_id"] = "antigravity:Pendulum-v1"
    with pytest.raises(InputError, match="real.h5 names a module to import, 'antigravity:Pend"):
        evaluate_model(small_gp(3, 1), real=real_pendulum)
    assert "antigravity" not in sys.modules
    assert evaluate_model(small_gp(3, 1), "Pendulum-v1", real=real_pendulum).steps == 2


@pytest.mark.parametrize("seed", ["abc", -5, np.inf])
def test_a_real_file_with_a_seed_that_is_none(real_pendulum: Path, seed: Any) -> None:
    with h5py.File(real_pendulum, "r+") as file:
        file.attrs["seed"] = seed
    assert evaluate_model(small_gp(3, 1), real=real_pendulum).seed == 0
