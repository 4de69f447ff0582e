"""TorchRL's SAC, collector, transforms and replay buffer in ImaginedEnv, as in any env of its."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDictBase
from tensordict.nn import NormalParamExtractor, TensorDictModule, TensorDictSequential
from torch import Tensor
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.envs import Compose, GymEnv, RewardSum, StepCounter, TransformedEnv
from torchrl.envs.transforms import Transform
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from imagine_cli import ImaginedEnv, load_world_model
from imagine_cli.rewards import env_reward

MODEL = Path(__file__).parents[1] / "sample_models" / "pendulum-gp.pt"
MEAN = ("observation", "mean")


class PendulumReward(Transform):  # type: ignore[misc]
    """The real env's own reward, at the beliefs' means."""

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> Any:
        action, after = tensordict["action"].double(), next_tensordict[MEAN]
        reward = env_reward("Pendulum-v1")(tensordict[MEAN], action, after)
        return next_tensordict.set("reward", reward.unsqueeze(-1).float())


class Value(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = MLP(in_features=4, out_features=1, num_cells=[64, 64])

    def forward(self, x: Tensor, u: Tensor) -> Any:
        return self.net(torch.cat([x.float(), u.float()], dim=-1))


def actor_for(env: Any) -> Any:
    net = MLP(in_features=3, out_features=2, num_cells=[64, 64])
    layers = torch.nn.Sequential(net, NormalParamExtractor())
    return ProbabilisticActor(
        TensorDictSequential(
            TensorDictModule(Tensor.float, in_keys=[MEAN], out_keys=["seen"]),
            TensorDictModule(layers, in_keys=["seen"], out_keys=["loc", "scale"]),
        ),
        in_keys=["loc", "scale"], spec=env.action_spec, distribution_class=TanhNormal,
        distribution_kwargs={"low": -2.0, "high": 2.0},
    )  # fmt: skip


def real_return(actor: Any, episodes: int) -> float:
    """Its mean return in the real env, without exploration."""
    real, total = GymEnv("Pendulum-v1"), 0.0
    real.set_seed(100)
    with set_exploration_type(ExplorationType.DETERMINISTIC), torch.no_grad():
        for _ in range(episodes):
            state = real.reset()
            for _ in range(200):
                seen = state.empty().set(MEAN, state["observation"])
                state = real.step(state.set("action", actor(seen)["action"]))["next"]
                total += float(state["reward"])
    real.close()
    return total / episodes


@pytest.mark.long
def test_what_it_learns_in_imagination_holds_in_the_real_env() -> None:
    """7,000 imagined steps and no real one; the random policy has about -1200, the best -150."""
    torch.manual_seed(0)
    imagined = ImaginedEnv(load_world_model(MODEL), GymEnv("Pendulum-v1"), batch_size=[20])
    env = TransformedEnv(imagined, Compose(PendulumReward(), StepCounter(200), RewardSum()))
    env.set_seed(0)
    actor = actor_for(env)
    loss = SACLoss(actor, ValueOperator(Value(), in_keys=[MEAN, "action"]), num_qvalue_nets=2)
    loss.make_value_estimator(gamma=0.97)
    target = SoftUpdate(loss, tau=0.01)
    optimizer = torch.optim.Adam(loss.parameters(), lr=2e-3)
    buffer = ReplayBuffer(storage=LazyTensorStorage(7000), batch_size=128)
    untrained = real_return(actor, 2)
    for number, data in enumerate(Collector(env, actor, frames_per_batch=100, total_frames=7000)):
        assert data.shape == (20, 5)
        buffer.extend(data.reshape(-1))
        for _ in range(50 if number > 2 else 0):
            found = loss(buffer.sample())
            optimizer.zero_grad()
            (found["loss_actor"] + found["loss_qvalue"] + found["loss_alpha"]).backward()
            optimizer.step()
            target.step()
    assert data["next", "episode_reward"].min() < -100  # RewardSum counts
    trained = real_return(actor, 5)
    assert trained > -600 > untrained, (untrained, trained)
