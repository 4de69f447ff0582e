from __future__ import annotations

import builtins
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import imagine_cli
from imagine_cli.errors import InputError, MissingExtraError
from imagine_cli.files.digest import sha256_of
from imagine_cli.policies import load_policy
from imagine_cli.progress import Silent
from imagine_cli.request import RolloutRequest
from imagine_cli.search import optimizers

MODELS = Path(__file__).parents[2] / "sample_models"
GP = MODELS / "pendulum-gp.pt"
SMALL: dict[str, Any] = {"reward": "env", "policy": "rbf:3", "horizon": 3, "iterations": 2}


def parameters(found: imagine_cli.search.optimize.OptimizedPolicy) -> torch.Tensor:
    return torch.cat([part.detach().flatten() for part in found.policy.parameters()])


@pytest.mark.parametrize("propagation", [None, "particles"])
def test_a_seed_repeats_the_policy_to_the_bit(propagation: str | None) -> None:
    options: dict[str, Any] = {**SMALL, "propagation": propagation}
    if propagation == "particles":
        options["particles"] = 10
    first, again, other = (
        imagine_cli.optimize_policy("Pendulum-v1", GP, seed=seed, **options) for seed in (5, 5, 6)
    )
    assert torch.equal(parameters(first), parameters(again))
    assert first.curve == again.curve
    assert not torch.equal(parameters(first), parameters(other))
    assert first.imagined_return > first.initial_return
    assert first.mean_reward == first.imagined_return / 3


def test_the_policy_is_saved_with_how_it_came_to_be(tmp_path: Path) -> None:
    path = tmp_path / "policy.pt"
    found = imagine_cli.optimize_policy("Pendulum-v1", GP, output=path, restarts=2, **SMALL)
    made = torch.load(path, weights_only=True)["metadata"]
    assert made == found.metadata
    assert (made["model_sha256"], made["reward"]) == (sha256_of(GP), "env")
    assert [point["restart"] for point in made["curve"]] == [0, 0, 0, 1, 1, 1]
    assert made["imagined_return"] >= max(point["imagined_return"] for point in made["curve"])
    again = load_policy(path, found.env)
    assert all(map(torch.equal, again.parameters(), found.policy.parameters()))
    on = imagine_cli.optimize_policy("Pendulum-v1", GP, **{**SMALL, "policy": str(path)})
    assert on.initial_return == pytest.approx(found.imagined_return, rel=1e-12)


class Interrupting(Silent):
    """Ctrl-C in the iteration of that number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def advance(self, *given: Any, **named: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_it_goes_on_to_the_same_policy(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {**SMALL, "iterations": 4, "restarts": 2, "method": method}
    search = partial(imagine_cli.optimize_policy, "Pendulum-v1", GP, **options)
    whole = search(output=tmp_path / "whole.pt")
    output = tmp_path / "policy.pt"
    for number in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            search(output=output, resume=True, progress=Interrupting(number))
    assert [path.name for path in tmp_path.glob("policy*")] == ["policy.pt.partial"]
    there = (tmp_path / "policy.pt.partial").read_bytes()
    (tmp_path / "policy.pt.partial").write_bytes(there[:-7])  # as a kill may leave it
    asked: list[int] = []
    evaluate = optimizers._evaluate
    monkeypatch.setattr(
        optimizers, "_evaluate", lambda *given: asked.append(len(given[-1])) or evaluate(*given)
    )
    found = search(output=output, resume=True)
    assert all(map(torch.equal, whole.policy.parameters(), found.policy.parameters()))
    assert found.curve == whole.curve
    assert 0 < sum(asked) < whole.metadata["evaluations"]
    assert not (tmp_path / "policy.pt.partial").exists()


def test_what_another_search_left_is_not_gone_on_from(tmp_path: Path) -> None:
    output = tmp_path / "policy.pt"
    with pytest.raises(KeyboardInterrupt):
        imagine_cli.optimize_policy(
            "Pendulum-v1", GP, output=output, progress=Interrupting(1), **SMALL
        )
    with pytest.raises(InputError, match=r"policy.pt.partial is of another search; leave out"):
        imagine_cli.optimize_policy(
            "Pendulum-v1", GP, output=output, resume=True, **{**SMALL, "seed": 9}
        )
    imagine_cli.optimize_policy("Pendulum-v1", GP, output=output, **{**SMALL, "seed": 9})
    assert not (tmp_path / "policy.pt.partial").exists()


def test_the_return_is_that_of_a_rollout_of_the_policy(tmp_path: Path) -> None:
    """By all that records it, in tiles and with noise of its own."""
    path, file = tmp_path / "policy.pt", tmp_path / "rollout.h5"
    found = imagine_cli.optimize_policy(
        "Pendulum-v1", GP, start="reset", trajectories=4, output=path, seed=2, **SMALL
    )
    imagine_cli.run_rollout(
        "Pendulum-v1", GP, policy=str(path), steps=3, trajectories=4, reward="env", seed=2,
        output=file,
    )  # fmt: skip
    with imagine_cli.open_rollout(file) as rollout:
        reward = rollout.reward_mean()
    assert found.imagined_return == pytest.approx(float(reward.sum(1).mean()), rel=1e-10)


def test_a_request_says_it_too() -> None:
    request = RolloutRequest(
        env="Pendulum-v1", model=str(GP), policy="rbf:3", start="belief", steps=3, reward="env"
    )
    found = imagine_cli.optimize_policy(request, iterations=2)
    again = imagine_cli.optimize_policy("Pendulum-v1", GP, **SMALL)
    assert torch.equal(parameters(found), parameters(again))


@pytest.mark.parametrize("kind", ["ensemble", "linear", "sparse-gp"])
@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_other_kinds_and_their_own_rewards(kind: str, method: str) -> None:
    reward = None if kind != "sparse-gp" else "saturating:target=1,0,0;width=1"
    found = imagine_cli.optimize_policy(
        "Pendulum-v1", MODELS / f"pendulum-{kind}.pt", policy="mlp:4", method=method, horizon=2,
        iterations=2, reward=reward,
    )  # fmt: skip
    assert found.imagined_return >= found.initial_return


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"reward": None}, "no reward of its own, so there is nothing to maximise; give --reward"),
        ({"method": "sgd"}, "--method 'sgd' is not lbfgs or adam"),
        ({"iterations": 0}, "--iterations is 0; it must be 1 or more"),
        ({"restarts": 0}, "--restarts is 0; it must be 1 or more"),
        ({"horizon": 0}, "--horizon is 0; it must be 1 or more"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0; it must be above 0"),
        ({"policy": "random"}, "no policy 'random' to search for"),
        ({"policy": "p.pt", "restarts": 2}, "and p.pt is one; leave --restarts out"),
        ({"particles": 5, "propagation": "moments"}, "--particles belongs to another propagation"),
    ],
)
def test_a_sentence_says_what_is_unusable(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        imagine_cli.optimize_policy("Pendulum-v1", GP, **{**SMALL, **options})


def test_discrete_actions_are_refused() -> None:
    with pytest.raises(InputError, match="'CartPole-v1' are discrete, and gradients need cont"):
        imagine_cli.optimize_policy("CartPole-v1", MODELS / "cartpole-gp.pt", reward="env")


def test_without_scipy_adam_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return load(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"imagine-cli\[search\]"):
        imagine_cli.optimize_policy("Pendulum-v1", GP, **SMALL)
    imagine_cli.optimize_policy("Pendulum-v1", GP, method="adam", **SMALL)


def test_a_restart_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from imagine_cli.search import optimize

    made = optimize.initial_policy

    def one_of_none(*given: Any, restart: int, **named: Any) -> Any:
        policy = made(*given, restart=restart, **named)
        if restart == 0:
            policy.weights.data.fill_(float("nan"))
        return policy

    monkeypatch.setattr(optimize, "initial_policy", one_of_none)
    with pytest.warns(UserWarning, match="restart 0 is left out: the imagined return of the"):
        found = imagine_cli.optimize_policy("Pendulum-v1", GP, restarts=2, **SMALL)
    assert {point.restart for point in found.curve} == {1}
    with pytest.raises(imagine_cli.ImagineError, match="begins with failed"):
        imagine_cli.optimize_policy("Pendulum-v1", GP, **SMALL)


def test_restarts_are_what_each_is_alone() -> None:
    options = {**SMALL, "restarts": 3, "propagation": "particles", "particles": 10}
    several = imagine_cli.optimize_policy("Pendulum-v1", GP, **options)
    alone = imagine_cli.optimize_policy("Pendulum-v1", GP, **{**options, "restarts": 1})
    first = [point for point in several.curve if point.restart == 0]
    for one, other in zip(first, alone.curve, strict=True):
        assert one.imagined_return == pytest.approx(other.imagined_return, rel=1e-9)
