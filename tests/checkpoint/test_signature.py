"""Plain programs of torch.export, which don't say what is what: it is told, and they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict.nn import TensorDictModule
from torch import Tensor

from imagine_cli import (
    InputError,
    convert_world_model,
    export_world_model,
    load_world_model,
    open_rollout,
    run_rollout,
)
from imagine_cli.propagation import fitting


class Net(torch.nn.Module):
    def __init__(self, gives: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 7)
        self.gives = gives

    def forward(self, x: Tensor, u: Tensor) -> Any:
        hidden = torch.tanh(self.layer(torch.cat([x, u], dim=-1)))
        return self.gives(x, hidden[:, :3], hidden[:, 3:6], hidden[:, 6:])


def saved(path: Path, module: torch.nn.Module, *sizes: int, dynamic: bool = False) -> Path:
    """What a user writes without having heard of imagine."""
    given = tuple(torch.randn(5, size) for size in sizes)
    shapes = tuple({0: torch.export.Dim("rows")} for _ in sizes) if dynamic else None
    torch.export.save(torch.export.export(module, given, dynamic_shapes=shapes), path)
    return path


@pytest.mark.parametrize(
    ("outputs", "gives", "mean", "var", "reward"),
    [
        ("mean", lambda x, m, s, r: x + m, lambda x, m: x + m, lambda s: 0 * s, False),
        ("mean,var", lambda x, m, s, r: (m, s.exp()), lambda x, m: m, torch.exp, False),
        ("delta,logvar", lambda x, m, s, r: (m, s), lambda x, m: x + m, torch.exp, False),
        ("std,_,mean", lambda x, m, s, r: (s, r, m), lambda x, m: m, torch.square, False),
        ("reward,delta", lambda x, m, s, r: {"r": r, "m": m}, lambda x, m: x + m,
         lambda s: 0 * s, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dynamic", [False, True])
def test_it_says_what_the_module_says(
    outputs: str, gives: Any, mean: Any, var: Any, reward: bool, dynamic: bool, tmp_path: Path
) -> None:
    source = saved(tmp_path / "m.pt2", Net(gives), 3, 1, dynamic=dynamic)
    model: Any = convert_world_model(
        source, tmp_path / "wm.pt", env="Pendulum-v1", outputs=outputs.split(",")
    )
    x, u = torch.randn(40, 3), torch.randn(40, 1)
    with torch.no_grad():
        at = load_world_model(tmp_path / "wm.pt").conditional(x, u)
        m, s, r = Net(lambda x, *parts: parts)(x, u)
    torch.testing.assert_close(at.mean, mean(x, m))
    torch.testing.assert_close(at.var, var(s))
    assert model.has_reward == reward
    if reward:
        torch.testing.assert_close(at.reward_mean, r[:, 0])


class Sampler(torch.nn.Module):
    """``x' = 0.9 x + u + noise``, of two random numbers for three dimensions."""

    ROOT = torch.tensor([[0.3, 0.0], [0.1, 0.2], [0.0, 0.1]])

    def forward(self, noise: Tensor, observation: Tensor, action: Tensor) -> Any:
        drawn = noise @ self.ROOT.mT
        return 0.9 * observation + action + drawn, drawn[:, :1]


class Difference(Sampler):
    def forward(self, noise: Tensor, observation: Tensor, action: Tensor) -> Any:
        return super().forward(noise, observation, action)[0] - observation


@pytest.mark.parametrize("form", ["told", "difference", "TensorDictModule"])
def test_a_module_that_samples_goes_by_particles(form: str, tmp_path: Path) -> None:
    path, count = tmp_path / "wm.pt2", 20_000
    inputs, sizes = ["noise", "observation", "action"], (2, 3, 1)
    if form == "told":
        source = saved(tmp_path / "m.pt2", Sampler(), *sizes)
        convert_world_model(source, path, inputs=inputs, outputs=["mean", "reward"])
    elif form == "difference":
        source = saved(tmp_path / "m.pt2", Difference(), *sizes, dynamic=True)
        convert_world_model(source, path, inputs=inputs, outputs=["delta"])
    else:
        keys: Any = [("next", "observation"), ("next", "reward")]
        module = TensorDictModule(Sampler(), in_keys=inputs, out_keys=keys)
        export_world_model(module, path, env="Pendulum-v1", noise_size=2)
    assert fitting(load_world_model(path)) == ["particles"]
    rolled = {"steps": 4, "particles": count, "policy": "constant:0.5"}
    run_rollout("Pendulum-v1", path, output=tmp_path / "r.h5", **rolled)
    q, var = (Sampler.ROOT @ Sampler.ROOT.mT).numpy(), np.zeros((3, 3))
    with open_rollout(tmp_path / "r.h5") as rollout:
        found, spread = (rollout.numbers(f"observation/{part}")[0] for part in ("mean", "var"))
        assert ("reward/mean" in rollout.datasets) == (form != "difference")
    mean = found[0]
    for k in range(1, 5):
        mean, var = 0.9 * mean + 0.5, 0.81 * var + q
        error = 5.0 * np.sqrt(np.outer(np.diag(var), np.diag(var)) + var**2) / count**0.5
        assert (np.abs(found[k] - mean) < 5.0 * np.sqrt(np.diag(var) / count)).all()
        assert (np.abs(spread[k] - var) < error).all()


@pytest.mark.parametrize(
    ("module", "sizes", "told", "sentence"),
    [
        (Net(lambda x, m, s, r: (m, s)), (3, 1), {"outputs": ["mean"]}, "gives 2 outputs, and"),
        (Net(lambda x, m, s, r: m), (3, 1), {"outputs": ["means"]}, "'means' is none of mean"),
        (Net(lambda x, m, s, r: m), (3, 1), {"outputs": ["var"]}, "one mean of the next"),
        (Net(lambda x, m, s, r: (m, s, s)), (3, 1), {"outputs": ["mean", "var", "std"]}, "at most"),
        (Net(lambda x, m, s, r: m), (3, 1), {"inputs": ["observation"]}, "observation and action"),
        (Sampler(), (2, 3, 1), {"outputs": ["mean", "_"]}, "takes 3 inputs, and --inputs names 2"),
        (
            Sampler(), (2, 3, 1),
            {"inputs": ["noise", "observation", "action"], "outputs": ["_", "var"]}, "one mean of",
        ),
        (
            Net(lambda x, m, s, r: m + torch.randn_like(m)), (3, 1), {"outputs": ["mean"]},
            r"aten.randn_like.*'noise'",
        ),
        (
            Net(lambda x, m, s, r: m.view(5, 3)[:, [2, 0, 1]].reshape(3, 5).mT), (3, 1),
            {"outputs": ["mean"]}, "with dynamic_shapes",
        ),
        (Net(lambda x, m, s, r: m), (3, 1), {}, "doesn't say which of its inputs and outputs"),
    ],
)  # fmt: skip
def test_what_can_not_be_read(
    module: Any, sizes: tuple[int, ...], told: Any, sentence: str, tmp_path: Path
) -> None:
    source = saved(tmp_path / "m.pt2", module, *sizes)
    with pytest.raises(InputError, match=sentence) as caught:
        convert_world_model(source, tmp_path / "wm.pt", **told)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "wm.pt").exists()


def test_only_a_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only of one can its inputs and outputs be told"):
        convert_world_model("sample_models/pendulum-gp.pt", tmp_path / "x.pt", outputs=["mean"])


def test_damage_anywhere_is_a_sentence_or_a_model(tmp_path: Path) -> None:
    good = saved(tmp_path / "m.pt2", Net(lambda x, m, s, r: (m, s)), 3, 1).read_bytes()
    g, refused = np.random.default_rng(0), 0
    for k in range(80):
        content = bytearray(good)
        for at in g.integers(len(good), size=3):
            content[at] = g.integers(256)
        (tmp_path / "bad.pt2").write_bytes(content[: len(good) - (k % 4 == 0) * 1000])
        try:
            convert_world_model(
                tmp_path / "bad.pt2", tmp_path / "wm.pt", outputs=["mean", "logvar"], overwrite=True
            )
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 20
