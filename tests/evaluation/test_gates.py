from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagine_cli import InputError, evaluate_model, save_world_model
from imagine_cli.cli import main
from imagine_cli.environments import describe, make_env
from imagine_cli.evaluation.gates import METRICS, Gate, check_gates, judge, parse_gate
from imagine_cli.evaluation.junit import write_junit
from imagine_cli.evaluation.scores import JOINT, MARGINAL
from tests.helpers.linear_world import ENV_ID, linear_model
from tests.helpers.worlds import small_gp

names = st.text(min_size=1, max_size=12).filter(lambda s: "]" not in s and s == s.strip())
thresholds = st.floats(allow_nan=False)
horizons = st.none() | st.integers(1, 10**9)
operators = st.sampled_from([">", ">=", "<", "<="])
gates = st.one_of(
    st.builds(Gate, st.sampled_from(MARGINAL), st.none() | names, horizons, operators, thresholds),
    st.builds(Gate, st.sampled_from(JOINT), st.none(), horizons, operators, thresholds),
)
spaces = st.sampled_from(["", " ", "  ", "\t"])


def gate_or_sentence(text: str) -> Gate | None:
    try:
        return parse_gate(text)
    except InputError as error:
        sentence = str(error)
    assert sentence.startswith(f"--fail-if {text!r}")
    return None


@given(gates)
def test_what_a_gate_is_written_as_reads_as_the_same_gate(gate: Gate) -> None:
    assert parse_gate(str(gate)) == gate


@given(gates, st.lists(spaces, min_size=6, max_size=6))
def test_spaces_between_the_parts_mean_nothing(gate: Gate, gaps: list[str]) -> None:
    where = "" if gate.dimension is None else f"[{gaps[0]}{gate.dimension}{gaps[1]}]"
    horizon = "last" if gate.horizon is None else gate.horizon
    text = (
        f"{gaps[2]}{gate.metric.upper()}{where}{gaps[3]}@{horizon}{gaps[4]}{gate.operator}"
        f"{gaps[5]}{gate.threshold!r}"
    )
    assert parse_gate(text) == gate


@given(st.text())
def test_any_text_is_a_gate_or_one_sentence(text: str) -> None:
    gate = gate_or_sentence(text)
    assert gate is None or parse_gate(str(gate)) == gate


@given(
    st.from_regex(r"[a-z]{2,6}[0-9]{0,2}(\[[a-z]?\])?@-?[0-9a-z.]{1,4} ?[<>=]{1,2} ?[-0-9e._a-z]+")
)
def test_nearly_a_gate_is_a_gate_or_one_sentence(text: str) -> None:
    gate = gate_or_sentence(text)
    if gate is not None:
        assert gate.metric in METRICS
        assert not math.isnan(gate.threshold)
        assert gate.horizon is None or gate.horizon > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a gate"),
        ("rmse > 1", "is not a gate"),
        ("rmse@10", "is not a gate"),
        ("rmse@10 = 1", "is not a gate"),
        ("rmse@10 == 1", "is not a gate"),
        ("rmse@10 > 1 2", "is not a gate"),
        ("rsme@10 > 1", "no metric 'rsme'; there is rmse, bias"),
        ("coverage42@10 < 1", "no metric 'coverage42'"),
        ("rmse@0 > 1", "a step from 1 on, or last"),
        ("rmse@ten > 1", "a step from 1 on, or last"),
        ("rmse@10 > much", "'much' is not a number"),
        ("rmse@10 > nan", "'nan' is not a number"),
        ("rmse@10 > 1_0", "'1_0' is not a number"),
        ("rmse[]@10 > 1", "name no dimension"),
        ("energy[x0]@10 > 1", "leave out [x0]"),
    ],
)
def test_what_is_not_a_gate(text: str, message: str) -> None:
    with pytest.raises(InputError) as found:
        parse_gate(text)
    assert message in str(found.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rmse@9 > 1", "looks at step 9 and the evaluation has 8"),
        ("rmse[z]@8 > 1", "no dimension 'z'; there is x, y"),
        ("rmse[2]@8 > 1", "no dimension '2'"),
    ],
)
def test_gates_about_what_there_will_not_be(text: str, message: str) -> None:
    with pytest.raises(InputError) as found:
        check_gates([parse_gate(text)], ["x", "y"], 8)
    assert message in str(found.value)
    check_gates([parse_gate("rmse@8 > 1"), parse_gate("rmse[1]@last > 1")], ["x", "y"], 8)


@pytest.fixture(scope="module")
def evaluation() -> Any:
    return evaluate_model(linear_model(shift=0.05), ENV_ID, steps=6, trajectories=50)


@pytest.mark.parametrize("horizon", [1, 4, None])
@pytest.mark.parametrize("metric", [*MARGINAL, *JOINT])
def test_every_metric_both_ways(evaluation: Any, metric: str, horizon: int | None) -> None:
    scores = evaluation.models[0].scores
    dimensions = [None] if metric in JOINT else [None, "x1", "0"]
    for dimension in dimensions:
        index = {"x1": 1, "0": 0}.get(dimension or "")
        value = scores.value(metric, horizon or 6, index)
        low, high = scores.interval(metric, horizon or 6, index)
        assert low < value < high or metric.startswith(("coverage", "mahala", "sharp", "calib"))
        above, below = high + 0.01, low - 0.01
        failing = [(">", below), (">=", low), ("<", above), ("<=", high)]
        passing = [(">", low), (">=", above), ("<", high), ("<=", below)]
        passing += [(sign, value) for sign in ("<", ">")]
        for expected, cases in ((False, failing), (True, passing)):
            for sign, threshold in cases:
                gate = Gate(metric, dimension, horizon, sign, threshold)
                (verdict,) = judge([parse_gate(str(gate))], evaluation)
                assert verdict.passed is expected, gate
                assert (verdict.value, verdict.interval) == (value, (low, high))
                assert verdict.decided is (not low <= threshold <= high)


def test_a_gate_that_is_not_decided_says_how_many_trajectories_would() -> None:
    asked: Any = {"steps": 6, "seed": 1}
    few = evaluate_model(linear_model(0.6), ENV_ID, trajectories=40, **asked)
    value = few.models[0].scores.value("coverage95", 6)
    threshold = value + 0.02
    (verdict,) = judge([Gate("coverage95", None, 6, "<", threshold)], few)
    assert verdict.passed
    assert verdict.deciding is not None
    assert f"40 trajectories don't decide, about {verdict.deciding} would" in verdict.line()
    # With that many the interval is as much narrower as was said.
    many = evaluate_model(linear_model(0.6), ENV_ID, trajectories=verdict.deciding, **asked)
    low, high = many.models[0].scores.interval("coverage95", 6)
    assert 0.5 * (high - low) == pytest.approx(0.02, rel=0.3)


def test_a_gate_of_the_return(evaluation: Any) -> None:
    (gate,) = gates = [parse_gate("return_bias@last > 5")]
    with pytest.raises(InputError, match=r"'return_bias@last > 5.0': the reward is not known"):
        judge(gates, evaluation)
    model = Path(__file__).parents[2] / "sample_models" / "pendulum-linear.pt"
    found = evaluate_model(model, "Pendulum-v1", steps=20, trajectories=30)
    (verdict,) = judge(gates, found)
    assert (verdict.value, verdict.trajectories) == (
        found.models[0].scores.value("return_bias", 20), 30,
    )  # fmt: skip
    low, high = verdict.interval
    assert [judge([replace(gate, threshold=end)], found)[0].passed for end in (
        low - 0.1, 0.5 * (low + high), high + 0.1)] == [False, True, True]  # fmt: skip
    with pytest.raises(InputError, match="leave out"):
        parse_gate("return_bias[0]@last > 5")


def test_a_horizon_that_nothing_reaches_fails_either_way() -> None:
    found = evaluate_model(
        linear_model(), ENV_ID, steps=40, trajectories=3, env_kwargs={"limit": -0.5}
    )
    assert found.lengths.max() < 40
    for text in ("rmse@40 > 0", "rmse@40 < 1e9"):
        (verdict,) = judge([parse_gate(text)], found)
        assert not verdict.passed
        assert "no real trajectory gets to step 40" in verdict.line()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "wm.pt"
    save_world_model(small_gp(3, 1), path, env=describe(make_env("Pendulum-v1")))
    return path


def command(checkpoint: Path, *words: Any) -> int:
    start = ["evaluate", "--env", "Pendulum-v1", "--model", checkpoint, "-n", 3, "--steps", 4, "-q"]
    return main([str(word) for word in (*start, *words)])


def test_the_status_and_a_line_for_each_gate_that_fails(
    checkpoint: Path, capsys: Any, tmp_path: Path
) -> None:
    met = ("--fail-if", "rmse@4 > 1e6", "--fail-if", "coverage95@1 < 0")
    assert command(checkpoint, *met) == 0
    assert "gate" not in capsys.readouterr().err
    report = tmp_path / "report.xml"
    broken = ("--fail-if", "rmse[theta_dot]@4 > 0", "--fail-if", "energy@last >= 0")
    assert command(checkpoint, *met, *broken, "--junit", report, "--json") == 1
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("imagine: gate failed: rmse[theta_dot]@4 > 0.0: it is ")
    assert str(checkpoint) in lines[1]
    verdicts = json.loads(printed.out)["gates"]
    assert [verdict["passed"] for verdict in verdicts] == [True, True, False, False]
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("4", "2")
    failures = [case.find("failure") is not None for case in suite.iter("testcase")]
    assert failures == [False, False, True, True]


def test_bad_gates_stop_it_before_anything_runs(checkpoint: Path, capsys: Any) -> None:
    assert command(checkpoint, "--fail-if", "rmse@5 > 1") == 2
    assert "looks at step 5" in capsys.readouterr().err
    assert command(checkpoint, "--fail-if", "nonsense") == 2
    assert command(checkpoint, "--junit", "report.xml") == 2
    assert "there are none" in capsys.readouterr().err


def test_a_report_survives_any_name(evaluation: Any, tmp_path: Path) -> None:
    (verdict,) = judge([parse_gate("rmse@1 > 0")], evaluation)
    odd = verdict._replace(model='a<b>&"\x00\x1b[31m\ud800é')
    write_junit([odd], tmp_path / "report.xml")
    case = next(ElementTree.parse(tmp_path / "report.xml").iter("testcase"))
    assert case.get("classname") == r'a<b>&"\x00\x1b[31m\ud800é'
