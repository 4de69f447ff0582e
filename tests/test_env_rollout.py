"""ImaginedEnv.rollout is EnvBase.rollout, to the bit, and its unrolled loop is the one that ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.envs import EnvBase, GymEnv
from torchrl.envs.utils import RandomPolicy, step_mdp
from torchrl.modules.models.rbf_controller import RBFController

import imagine_cli.imagined_env
from imagine_cli import ImaginedEnv
from imagine_cli.propagation.particles import Particles
from tests.helpers.ensembles import random_ensemble
from tests.helpers.worlds import linear_module, small_gp


def make(which: str, batch: Any = (2,)) -> ImaginedEnv:
    base = GymEnv("Pendulum-v1")
    if which == "module":
        return ImaginedEnv(linear_module(3, 1), base, batch_size=batch)
    if which == "gp":
        return ImaginedEnv(small_gp(3, 1), base, batch_size=batch)
    world = random_ensemble(3, 1, reward=True)
    return ImaginedEnv(world, base, batch_size=batch, propagation=Particles(particles=4))


def controller() -> TensorDictModule:
    torch.manual_seed(3)
    keys = [("action", "mean"), ("action", "var"), ("action", "cross_covariance")]
    rbf = RBFController(3, 1, 2.0, n_basis=4).double()
    return TensorDictModule(rbf, [("observation", "mean"), ("observation", "var")], keys)


def linear_policy(env: ImaginedEnv) -> TensorDictModule:
    torch.manual_seed(4)
    layer = torch.nn.Linear(3, 1, dtype=env.belief_dtype)
    keep = TensorDictModule(torch.sin, [("observation", "mean")], ["features"])
    return TensorDictSequential(keep, TensorDictModule(layer, ["features"], ["action"]))


POLICIES: dict[str, Callable[[ImaginedEnv], Any]] = {
    "none": lambda env: None,
    "random": lambda env: RandomPolicy(env.action_spec),
    "linear": linear_policy,
    "rbf": lambda env: controller(),
}


@pytest.fixture
def unrolled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each rollout that the unrolled loop makes."""
    made: list[int] = []
    real = imagine_cli.imagined_env.unrolled

    def counted(env: Any, steps: int, *arguments: Any) -> TensorDictBase:
        made.append(steps)
        return real(env, steps, *arguments)

    monkeypatch.setattr(imagine_cli.imagined_env, "unrolled", counted)
    return made


def same(one: TensorDictBase, other: TensorDictBase) -> None:
    assert set(one.keys(True, True)) == set(other.keys(True, True))
    assert one.batch_size == other.batch_size
    assert list(one.names) == list(other.names)
    for key in one.keys(True, True):
        assert one[key].dtype == other[key].dtype
        assert torch.equal(one[key], other[key]), key


@pytest.mark.parametrize("which", ["module", "gp", "ensemble"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("batch", [(1,), (2, 3)])
def test_it_is_the_rollout_of_torchrl(
    which: str, policy: str, batch: tuple[int, ...], unrolled: list[int]
) -> None:
    if policy == "rbf" and which == "module":
        pytest.skip("the module takes no belief over actions")
    env = make(which, batch)
    acting = POLICIES[policy](env)
    rollouts = []
    for how in (env.rollout, lambda *a: EnvBase.rollout(env, *a)):
        env.set_seed(5)
        torch.manual_seed(7)
        rollouts.append(how(6, acting))
    assert unrolled == [6]
    same(*rollouts)


@pytest.mark.parametrize("which", ["gp", "ensemble"])
def test_it_goes_on_from_where_another_ended(which: str, unrolled: list[int]) -> None:
    env = make(which)
    first = env.rollout(3)
    onward = step_mdp(first[..., -1])
    rollouts = []
    for how in (env.rollout, lambda *a, **k: EnvBase.rollout(env, *a, **k)):
        torch.manual_seed(7)
        rollouts.append(how(4, tensordict=onward.clone(), auto_reset=False))
    assert unrolled == [3, 4]
    same(*rollouts)
    assert torch.equal(rollouts[0][..., 0]["observation", "mean"], onward["observation", "mean"])


def test_a_done_that_it_is_given_stays_at_the_start(unrolled: list[int]) -> None:
    env = make("gp")
    start = env.reset()
    start["done"] = torch.ones_like(start["done"])
    rollout = env.rollout(3, tensordict=start, auto_reset=False)
    assert unrolled == [3]
    assert rollout["done"].squeeze(-1).tolist() == [[True, False, False]] * 2
    assert not rollout["next", "done"].any()


def test_gradients_are_the_same(unrolled: list[int]) -> None:
    env = make("gp")
    acting = linear_policy(env)
    found = []
    for how in (env.rollout, lambda *a: EnvBase.rollout(env, *a)):
        env.set_seed(5)
        acting.zero_grad()
        how(3, acting)["next", "observation", "var"].sum().backward()
        found.append([p.grad.clone() for p in acting.parameters()])
    assert unrolled == [3]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0.0)


def test_what_comes_out_shares_no_memory_between_its_halves(unrolled: list[int]) -> None:
    rollout = make("gp").rollout(3)
    before = rollout["observation", "mean"].clone()
    rollout["next", "observation", "mean"].zero_()
    rollout["next", "done"].fill_(True)
    assert torch.equal(rollout["observation", "mean"], before)
    assert not rollout["done"].any()
    assert unrolled == [3]


class Recurrent(TensorDictModule):
    """Writes an entry below ``"next"``, as recurrent networks do."""

    def __init__(self) -> None:
        keys = ["action", ("next", "memory")]
        super().__init__(lambda memory: (memory, memory + 1.0), ["memory"], keys)


def test_rarer_wishes_go_the_way_of_torchrl(unrolled: list[int]) -> None:
    env = make("gp")
    seen: list[Any] = []
    env.rollout(2, callback=lambda env, td: seen.append(td))
    assert len(seen) > 0
    plain = env.rollout(2, policy=lambda td: td.set("action", env.action_spec.zero()))
    assert not plain["action"].any()
    start = env.reset().set("memory", torch.zeros(2, 1))
    recurrent = env.rollout(3, Recurrent(), tensordict=start, auto_reset=False)
    assert (recurrent["next", "memory"] == 1.0).all()
    truncated = env.rollout(2, set_truncated=True)
    assert truncated["next", "truncated"][:, -1].all()
    assert unrolled == []
    with pytest.raises(TypeError, match="break_when"):
        env.rollout(2, break_when_any_done=True, break_when_all_done=True)


def test_what_a_policy_writes_among_the_envs_entries_counts(unrolled: list[int]) -> None:
    env = make("gp")

    def beside(mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(2, 1, dtype=mean.dtype), 2.0 * mean

    keys = ["action", ("observation", "twice")]
    rollout = env.rollout(2, TensorDictModule(beside, [("observation", "mean")], keys))
    assert torch.equal(rollout["observation", "twice"], 2.0 * rollout["observation", "mean"])
    assert unrolled == []


def test_a_subclass_with_a_step_of_its_own_keeps_it(unrolled: list[int]) -> None:
    class Doubled(ImaginedEnv):
        def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
            out = super()._step(tensordict)
            return out.set("reward", out["reward"] + 2.0)

    env = Doubled(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=2)
    assert (env.rollout(2)["next", "reward"] == 2.0).all()
    assert unrolled == []
