"""Several models and propagations in one evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict.nn import TensorDictModule

from imagine_cli import InputError, evaluate_model, save_world_model
from imagine_cli.cli import main
from imagine_cli.environments import describe, make_env
from imagine_cli.propagation.particles import Particles
from imagine_cli.world_models import LinearGaussianWorldModel
from tests.helpers.ensembles import random_ensemble
from tests.helpers.linear_world import ENV_ID, A, B, Q, linear_model
from tests.helpers.worlds import small_gp

ASKED: dict[str, Any] = {"steps": 6, "trajectories": 5, "seed": 2}
WAYS = ["moments", "linearized", "unscented", "particles"]


def exact() -> LinearGaussianWorldModel:
    return LinearGaussianWorldModel.from_parameters(A, B, np.zeros(2), Q)


def test_each_propagation_is_a_row_and_those_that_are_exact_here_agree() -> None:
    found = evaluate_model(exact(), ENV_ID, propagation=WAYS, particles=4000, **ASKED)
    rows = {report.propagation.split("(")[0]: report for report in found.models}
    assert list(map(rows.__contains__, WAYS)) == [True] * 4
    assert rows["particles"].propagation == "particles(particles=4000)"
    assert [report.label for report in found.models] == [
        f"{report.name}, {report.propagation}" for report in found.models
    ]
    scores = [report.score for report in found.models]
    assert scores == sorted(scores)
    alone = evaluate_model(exact(), ENV_ID, **ASKED).models[0]
    assert alone.label == alone.name
    for metric in ("rmse", "nll", "crps", "energy"):
        wanted = alone.scores.joint[metric]
        # The same formula; a linear map in another order of additions; and 4000 particles, whose
        # mean and deviations are off by a part of 1/sqrt(4000) of the spread.
        assert (rows["moments"].scores.joint[metric] == wanted).all()
        for name, rtol in (("linearized", 1e-10), ("unscented", 1e-10)):
            np.testing.assert_allclose(rows[name].scores.joint[metric], wanted, rtol=rtol)
        sampled = rows["particles"].scores.joint[metric]
        np.testing.assert_allclose(sampled, wanted, rtol=0.1, atol=0.05)
        assert (sampled != wanted).all()


def test_what_fits_one_of_two_models_is_left_out_of_the_other_with_a_remark() -> None:
    models = [small_gp(2, 1), random_ensemble(2, 1)]
    with pytest.warns(UserWarning, match="'moments' does not fit a world model of kind 'ensemb"):
        found = evaluate_model(models, ENV_ID, propagation=["moments", "linearized"], **ASKED)
    pairs = {(report.kind, report.propagation) for report in found.models}
    assert pairs == {("gp", "moments"), ("gp", "linearized"), ("ensemble", "linearized")}
    labels = {report.label for report in found.models}
    assert len(labels) == 3


def test_too_few_particles_for_a_joint_density_are_told() -> None:
    with pytest.warns(UserWarning, match="2 particles have no joint density in 2 dimensions"):
        found = evaluate_model(exact(), ENV_ID, propagation=Particles(2), **ASKED)
    scores = found.models[0].scores
    assert np.isnan(scores.joint["mahalanobis95"]).all()
    assert np.isfinite(scores.joint["nll"]).all()


def test_members_are_for_the_models_that_have_some() -> None:
    found = evaluate_model(
        [exact(), random_ensemble(2, 1)], ENV_ID, propagation="particles", particles=7,
        members="random", **ASKED,
    )  # fmt: skip
    used = {report.kind: report.propagation for report in found.models}
    assert used == {
        "linear": "particles(particles=7)",
        "ensemble": "particles(particles=7, members=random)",
    }


def test_a_propagation_object_and_one_asked_for_twice() -> None:
    found = evaluate_model(
        exact(), ENV_ID, propagation=[Particles(9), "moments", "moments"], **ASKED
    )
    assert sorted(report.propagation for report in found.models) == [
        "moments",
        "particles(particles=9)",
    ]


def test_the_same_seed_gives_the_same_particles() -> None:
    one, two = (
        evaluate_model(small_gp(2, 1), ENV_ID, propagation="particles", **ASKED) for _ in range(2)
    )
    other = evaluate_model(small_gp(2, 1), ENV_ID, propagation="particles", **{**ASKED, "seed": 3})
    nll = [found.models[0].scores.joint["nll"].tolist() for found in (one, two, other)]
    assert nll[0] == nll[1] != nll[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"propagation": "moment"}, "no propagation 'moment'; there is moments"),
        ({"propagation": "moments", "particles": 5}, "belongs to another propagation"),
        ({"particles": 5}, "belongs to another propagation"),
        ({"propagation": "particles", "members": "fixed"}, "has no members"),
        ({"propagation": WAYS, "imagined": "x.h5"}, "one model and one propagation"),
    ],
)
def test_what_does_not_fit_the_only_model_is_an_error(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_model(exact(), ENV_ID, **options, **ASKED)


def test_a_model_is_never_dropped_from_the_ranking_unsaid() -> None:
    with (
        pytest.warns(UserWarning, match="is left out there"),
        pytest.raises(InputError, match="none of the propagations asked for fits ensemble"),
    ):
        evaluate_model(
            [small_gp(2, 1), random_ensemble(2, 1)], ENV_ID, propagation="moments", **ASKED
        )
    with pytest.raises(InputError, match="leave the propagation out, and it propagates beliefs in"):
        evaluate_model(linear_model(), ENV_ID, propagation="linearized", **ASKED)


class AtPoints(torch.nn.Module):
    """A foreign network: one observation and one action in, one mean and variances out."""

    def forward(self, action: Any, observation: Any) -> Any:
        a, b = (torch.tensor(each, dtype=observation.dtype) for each in (A, B))
        mean = observation @ a.mT + action.to(observation.dtype) @ b.mT
        return mean, torch.tensor(Q, dtype=mean.dtype).expand(*mean.shape, 2)


def test_a_foreign_module_has_a_row_for_each_propagation_too() -> None:
    keys: Any = [("next", "observation", "mean"), ("next", "observation", "var")]
    module = TensorDictModule(AtPoints(), in_keys=["action", "observation"], out_keys=keys)
    found = evaluate_model(
        [module, exact()], ENV_ID, propagation=["linearized", "particles"], particles=9, **ASKED
    )
    rows = {(report.kind, report.propagation.split("(")[0]): report for report in found.models}
    assert len(rows) == 4
    one, other = rows["module", "linearized"].scores, rows["linear", "linearized"].scores
    # The module's arithmetic is float32.
    np.testing.assert_allclose(one.joint["nll"], other.joint["nll"], rtol=1e-4)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    about = describe(make_env("Pendulum-v1"))
    save_world_model(small_gp(3, 1), folder / "gp.pt", env=about)
    save_world_model(random_ensemble(3, 1), folder / "ensemble.pt", env=about)
    return folder


def command(*words: Any) -> int:
    return main(["evaluate", "--env", "Pendulum-v1", *map(str, words), "-n", "4", "--steps", "3"])


def test_the_command_ranks_models_and_propagations_in_one_table(
    models: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(models)
    words = ("--model", "gp.pt", "--model", "ensemble.pt", "--propagation", "moments")
    words += ("--propagation", "particles", "--particles", "20", "--resample")
    assert command(*words) == 0
    out, err = capsys.readouterr()
    assert "imagine: warning: ensemble.pt is left out there: propagation 'moments'" in err
    table = out.split("\n\n")[1].splitlines()
    assert table[0].split()[:3] == ["model", "propagation", "score"]
    assert sorted(line.split("  ")[0] for line in table[1:]) == ["ensemble.pt", "gp.pt", "gp.pt"]
    assert sum("particles(particles=20" in line and "resample" in line for line in table) == 2
    for heading in ("gp.pt, moments", "gp.pt, particles(particles=20, members=random, resample)"):
        assert f"\n{heading}\n" in out


def test_gates_name_the_row_they_are_of(models: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(models)
    words = ("--model", "gp.pt", "--propagation", "moments", "--propagation", "linearized")
    gates = ("--fail-if", "rmse@1 > 0", "--fail-if", "rmse@1 < 0", "--junit", "gates.xml")
    assert command(*words, *gates, "--json") == 1
    out, err = capsys.readouterr()
    verdicts = json.loads(out)["gates"]
    assert [verdict["passed"] for verdict in verdicts] == [False, True, False, True]
    assert {verdict["model"] for verdict in verdicts} == {"gp.pt, moments", "gp.pt, linearized"}
    failed = [line for line in err.splitlines() if "gate failed" in line]
    assert len(failed) == 2
    assert any(line.endswith("(gp.pt, linearized)") for line in failed)
    assert (models / "gates.xml").read_text().count('classname="gp.pt, moments"') == 2
