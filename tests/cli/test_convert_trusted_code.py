"""``imagine convert --trust-code``: a state dict and the user's class make a checkpoint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from imagine_cli import load_world_model
from imagine_cli.cli import main

MODULE = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 6)

    def forward(self, x, u):
        return self.layer(torch.cat([x, u], -1)).chunk(2, -1)

def needs_more(size):
    return Net()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the class and its numbers are."""
    monkeypatch.chdir(tmp_path)
    Path("own_net_to_trust.py").write_text(MODULE)
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 6)
    torch.save({f"layer.{name}": value for name, value in layer.state_dict().items()}, "net.pt")
    torch.save({"layer.weight": torch.zeros(2)}, "other.pt")
    torch.save({"layer": torch.nn.Linear(2, 2)}, "pickled.pt")
    return tmp_path


NET = ["--trust-code", "own_net_to_trust:Net"]
PENDULUM = ["--env", "Pendulum-v1"]


def test_it_predicts_what_the_class_predicts(folder: Path) -> None:
    assert main(["convert", "net.pt", "-o", "wm.pt", *NET, *PENDULUM]) == 0
    told = ["--outputs", "delta,logvar"]
    assert main(["convert", "net.pt", "-o", "delta.pt", *NET, *PENDULUM, *told]) == 0
    state = torch.load("net.pt", weights_only=True)
    x, u = torch.randn(9, 3), torch.randn(9, 1)
    mean, spread = (torch.cat([x, u], 1) @ state["layer.weight"].mT + state["layer.bias"]).chunk(
        2, 1
    )
    for name, expected in (("wm.pt", (mean, spread)), ("delta.pt", (x + mean, spread.exp()))):
        at = load_world_model(name).conditional(x, u)
        torch.testing.assert_close((at.mean, at.var), expected)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["net.pt", *PENDULUM], "state dict imagine convert --trust-code module:Class makes one"),
        (["net.pt", *NET], "give --env"),
        (["other.pt", *NET, *PENDULUM], "can't be loaded into a own_net_to_trust:Net: RuntimeErr"),
        (["pickled.pt", *NET, *PENDULUM], "holds .*Linear.*: it is refused"),
        (["net.pt", *PENDULUM, "--trust-code", "own_net_to_trust:Nix"], "can't be imported"),
        (["net.pt", *PENDULUM, "--trust-code", "own_net_to_trust:needs_more"], "TypeError"),
        (["net.pt", *NET, "--env", "CartPole-v1"], "the module fails at points"),
        (["net.pt", *NET, *PENDULUM, "--outputs", "mean"], "gives 2 outputs, and"),
        (["net.pt", *NET, *PENDULUM, "--inputs", "noise,action,observation"], "no noise can be"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    given: list[str], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", *given, "-o", "new.pt"]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("imagine: error: ")
    assert re.search(sentence, line), line
    assert captured.out == ""
    assert not Path("new.pt").exists()
