"""``imagine doctor``."""

from __future__ import annotations

import json
from importlib import metadata

import pytest

from imagine_cli import world_models
from imagine_cli.cli import main


def test_a_machine_that_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["checks"]) >= 3
    assert all(check["wrong"] is None for check in found["checks"])
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["extras"]["plot"] == {"missing": []}


def test_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = metadata.version

    def without(name: str) -> str:
        if name in ("matplotlib", "mujoco"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    assert main(["doctor"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "plot: pip install 'imagine-cli[plot]' (lacks matplotlib)" in said
    assert "mujoco: pip install 'imagine-cli[mujoco]' (lacks mujoco)" in said


def test_a_machine_that_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    linear = world_models.LinearGaussianWorldModel
    right = linear.from_parameters

    def wrong(a: object, b: object, c: object, q: object) -> object:
        return right(a, b, c + 1e-9, q)  # type: ignore[operator]

    monkeypatch.setattr(linear, "from_parameters", wrong)
    assert main(["doctor"]) == 1
    assert "WRONG: they differ by" in capsys.readouterr().out
