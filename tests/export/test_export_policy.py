"""Policies as programs for use elsewhere, and those of other libraries as policies here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensordict.nn import InteractionType, TensorDictModule
from torch import Tensor, nn
from torchrl.modules import MLP, NormalParamExtractor, ProbabilisticActor, TanhNormal

import imagine_cli
from imagine_cli import InputError, export_policy
from imagine_cli.belief import Belief
from imagine_cli.cli import main
from imagine_cli.environments import EnvDescription, describe_named
from imagine_cli.policies import LinearPolicy, MLPPolicy, RBFPolicy, make_policy, save_policy
from imagine_cli.policies.parametric import ParametricPolicy

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(scope="module")
def pendulum() -> EnvDescription:
    return describe_named("Pendulum-v1")


def policies(env: EnvDescription) -> dict[str, ParametricPolicy]:
    torch.manual_seed(0)
    bound = torch.tensor([2.0], dtype=torch.float64)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64)  # noqa: E731
    return {
        "mlp": MLPPolicy(env, hidden=[8]),
        "linear": LinearPolicy(draw(1, 3), draw(1), bound),
        "rbf": RBFPolicy(draw(5, 3), draw(5, 1), draw(3).abs() + 0.5, bound),
    }


@pytest.mark.parametrize("kind", ["mlp", "linear", "rbf"])
def test_what_was_exported_acts_the_same(
    kind: str, pendulum: EnvDescription, tmp_path: Path
) -> None:
    policy = policies(pendulum)[kind]
    export_policy(policy, tmp_path / "p.pt2", env=pendulum)
    again = make_policy(str(tmp_path / "p.pt2"), pendulum)
    assert isinstance(again, ParametricPolicy)
    torch.testing.assert_close(again.at(X), policy.at(X).detach(), rtol=1e-12, atol=1e-14)
    if kind == "mlp":  # whose beliefs go the same way, by the derivative
        belief = Belief(X, torch.eye(3).double().expand(40, 3, 3))
        for found, want in zip(again(belief), policy(belief), strict=True):
            assert found is not None
            assert want is not None
            torch.testing.assert_close(found, want.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.long
def test_onnx_acts_the_same(pendulum: EnvDescription, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    for kind, policy in policies(pendulum).items():
        file = tmp_path / f"{kind}.onnx"
        export_policy(policy, file, env=pendulum)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        (found,) = session.run(["action"], {"observation": X.numpy()})
        np.testing.assert_allclose(found, policy.at(X).detach(), rtol=1e-12, atol=1e-14)


def test_an_actor_of_torchrl_acts_here(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(MLP(in_features=3, out_features=2, num_cells=[16]), NormalParamExtractor())
    actor = ProbabilisticActor(
        TensorDictModule(net, ["observation"], ["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        distribution_kwargs={"low": -2.0, "high": 2.0},
        default_interaction_type=InteractionType.DETERMINISTIC,
    )
    file = tmp_path / "actor.pt2"
    export_policy(actor, file, env="Pendulum-v1")
    policy = make_policy(str(file), describe_named("Pendulum-v1"))
    loc = net(X.float())[0]
    torch.testing.assert_close(policy.at(X), 2.0 * loc.tanh().double(), rtol=1e-5, atol=1e-6)
    played = imagine_cli.play_policy("Pendulum-v1", str(file), trajectories=2, steps=10)
    assert np.isfinite(played.returns).all()


class Choices(nn.Module):
    def forward(self, observation: Tensor) -> Tensor:
        return (observation[:, 2] > 0).long()


def test_the_numbers_of_choices_become_one_hot(tmp_path: Path) -> None:
    file = tmp_path / "cartpole.pt2"
    export_policy(Choices(), file, env="CartPole-v1")
    policy = make_policy(str(file), describe_named("CartPole-v1"))
    x = torch.zeros(3, 4, dtype=torch.float64)
    x[1, 2] = 1.0
    assert policy.at(x).tolist() == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]


def test_the_command(
    pendulum: EnvDescription, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save_policy(policies(pendulum)["linear"], "policy.pt", env=pendulum)
    assert main(["export", "policy.pt"]) == 0
    assert capsys.readouterr().out == "policy.pt2\n"
    assert main(["export", "policy.pt"]) == 2
    assert "policy.pt2 exists; give --force" in capsys.readouterr().err
    save_policy(policies(pendulum)["linear"], "anywhere.pt")
    assert main(["export", "anywhere.pt", "-o", "a.pt2"]) == 2
    assert "does not say of which env it is; give --env" in capsys.readouterr().err
    assert main(["export", "policy.pt", "-o", "p.txt"]) == 2
    assert "to a .pt2 or an .onnx file, and not to p.txt" in capsys.readouterr().err


def test_a_policy_cannot_have_a_module_imported_or_a_file_opened(
    pendulum: EnvDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("unasked.py").write_text("open('ran', 'w')")
    for changes, sentence in (
        ({"id": "unasked:Pendulum-v1"}, "if that may run, give --env unasked:Pendulum-v1"),
        ({"kwargs": {"xml_file": "x.xml"}}, "if that may be opened, give --env-kwarg xml_file="),
        ({"kwargs": {"env_id": "unasked:X"}}, "if that may be opened, give --env-kwarg env_id="),
    ):
        about = replace(pendulum, **changes)
        save_policy(policies(pendulum)["linear"], "p.pt", env=about, overwrite=True)
        with pytest.raises(InputError, match=sentence):
            export_policy("p.pt", "p.pt2")
    assert not Path("ran").exists()


class Drawing(nn.Module):
    def forward(self, observation: Tensor) -> Tensor:
        return torch.rand_like(observation[:, :1])


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (nn.Linear(4, 1), r"the policy fails at observations \(7, 3\)"),
        (nn.Linear(3, 2), r"gives actions \(2, 2\) at observations \(2, 3\), not \(2, 1\)"),
        (Drawing(), "aten.rand_like"),
    ],
)
def test_sentences(
    module: nn.Module, sentence: str, pendulum: EnvDescription, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence):
        export_policy(module, tmp_path / "p.pt2", env=pendulum)
    assert not list(tmp_path.iterdir())
