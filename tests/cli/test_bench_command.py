from __future__ import annotations

import json

import pytest
import torch

from imagine_cli.benchmarks.moment_matching import beliefs, random_gp, torchrls
from imagine_cli.cli import main
from imagine_cli.registry import BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_as_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", "--only", name, "--quick", "--seconds", "0.01", "--json", "--quiet"]
    assert main(argv) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert (found["device"], found["unit"]) == ("cpu", "ms")
    assert {row["benchmark"] for row in found["rows"]} == {name}
    for row in found["rows"]:
        assert row["ours"] > 0
        for peer, time in row["peers"].items():
            assert row["times_faster"][peer] == pytest.approx(time / row["ours"])
        for floor, time in row["floors"].items():
            assert row["times_floor"][floor] == pytest.approx(row["ours"] / time)
    if name in ("moment-matching", "gradient", "policy-gradient", "rollout"):
        assert all("torchrl" in row["peers"] for row in found["rows"])


@pytest.mark.long
def test_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["bench", "--only", "gradient", "--quick", "--seconds", "0.01", "--quiet", "--compile"]
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compiled"] is True
    assert main(line) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(", compiled")


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--only", "engine", "--quick", "--seconds", "0.01"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("Medians in milliseconds on cpu")
    assert lines[2].split()[:3] == ["benchmark", "case", "imagine"]
    assert lines[3].startswith("engine")
    assert "measuring" in captured.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "nothing"], "no benchmark 'nothing'; there is moment-matching"),
        (["--only", "engine", "--seconds", "0"], "more than 0 seconds, not 0.0"),
        (["--only", "engine", "--seconds", "nan"], "more than 0 seconds, not nan"),
        (["--only", "engine", "--device", "nowhere"], "device 'nowhere' can't be used"),
        (["--only", "engine", "--device", "cuda:77"], "device 'cuda:77' can't be used"),
    ],
)
def test_bad_arguments(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--quiet", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert sentence in captured.err


def test_the_peer_does_the_same_work() -> None:
    """To 1e-6: torchrl adds 1e-8 to each covariance that goes in."""
    ours = random_gp(50)
    td = beliefs(ours, 2)
    with torch.no_grad():
        found, wanted = ours(td.clone()), torchrls(ours).uncertain_forward(td.clone())
    for part in ("mean", "var"):
        torch.testing.assert_close(
            found["next", "observation", part],
            wanted["next", "observation", part],
            rtol=0.0,
            atol=1e-6,
        )
