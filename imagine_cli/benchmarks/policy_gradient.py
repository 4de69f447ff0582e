"""The gradient of an imagined return by a policy's parameters, as policy search needs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torchrl.envs import EnvBase, GymWrapper
from torchrl.envs.model_based.imagined import ImaginedEnv as TorchRLImaginedEnv
from torchrl.modules.models.rbf_controller import RBFController

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.benchmarks.moment_matching import gp_for, torchrls
from imagine_cli.benchmarks.table import Bench, Row
from imagine_cli.benchmarks.timing import Work
from imagine_cli.imagined_env import ImaginedEnv
from imagine_cli.policies.rbf import RBFPolicy
from imagine_cli.propagation.moments import Moments
from imagine_cli.rewards.saturating import SaturatingReward
from imagine_cli.search.objective import ImaginedReturn
from imagine_cli.threads import one_thread
from imagine_cli.unroll import ModelDynamics
from imagine_cli.world_models import GaussianProcessWorldModel
from imagine_cli.world_models.interfaces import Prediction

_SIZE, _ACTIONS, _BASES = 4, 1, 50
_KEYS = ("mean", "var")


class _Spaces(gymnasium.Env):  # type: ignore[misc]
    """All that an imagined env needs of a real one."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (_SIZE,))
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (_ACTIONS,))

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        return self.observation_space.sample(), {}


def rollouts(bench: Bench) -> Iterator[Row]:
    """Forward and backward, of PILCO's return under an RBF policy; times are for a step.

    "imagine" is what ``imagine optimize`` evaluates, with ``--compile`` beside the same without;
    "ImaginedEnv" the project's env, and "torchrl" torchrl's, both under torchrl's RBFController,
    whose parameters all have.
    """
    steps = 5 if bench.quick else 20
    like: dict[str, Any] = {"dtype": torch.float64, "device": bench.device}
    belief = Belief(torch.zeros(1, _SIZE, **like), 0.1 * torch.eye(_SIZE, **like).unsqueeze(0))
    reward = SaturatingReward(torch.zeros(_SIZE, **like), torch.ones(_SIZE, **like))
    for n in (100,) if bench.quick else (100, 200):
        model = gp_for(n, bench, _SIZE, _ACTIONS)
        controller = RBFController(_SIZE, _ACTIONS, 2.0, n_basis=_BASES).to(**like)
        real = GymWrapper(_Spaces(), device=bench.device)
        envs = {
            "ImaginedEnv": ImaginedEnv(model, real, batch_size=[1]),
            "torchrl": TorchRLImaginedEnv(torchrls(model), real, batch_size=[1]),
        }
        peers = {
            name: _rollout(env, controller, reward, belief, steps) for name, env in envs.items()
        }
        if bench.compiled:
            plain = gp_for(n, replace(bench, compiled=False), _SIZE, _ACTIONS)
            peers["uncompiled"] = _search(plain, controller, reward, belief, steps)
        yield bench.row(
            "policy-gradient",
            f"{steps} steps, n={n}, D={_SIZE}, N={_BASES}, B=1, a step",
            _search(model, controller, reward, belief, steps),
            peers,
            per=steps,
        )


def _search(
    model: GaussianProcessWorldModel,
    controller: RBFController,
    reward: SaturatingReward,
    belief: Belief,
    steps: int,
) -> Work:
    bound = belief.mean.new_full((_ACTIONS,), float(controller.max_action))
    policy = RBFPolicy(controller.centers, controller.weights, controller.lengthscales, bound)
    objective = ImaginedReturn(ModelDynamics(model, Moments(), reward), belief, steps)

    def work() -> object:
        with one_thread():
            return torch.autograd.grad(objective(policy), list(policy.parameters()))

    return work


def _rollout(
    env: EnvBase, controller: RBFController, reward: SaturatingReward, belief: Belief, steps: int
) -> Work:
    policy = TensorDictModule(
        controller,
        in_keys=[("observation", key) for key in _KEYS],
        out_keys=[("action", key) for key in (*_KEYS, "cross_covariance")],
    )
    start = TensorDict({"observation": belief._asdict()}, [1])

    def work() -> object:
        begun = env.reset(start.clone())
        rollout = env.rollout(steps, policy, tensordict=begun, auto_reset=False)
        after = Prediction(*(rollout["next", "observation", key] for key in _KEYS))
        value = reward.moments(belief, ActionBelief(belief.mean), after).mean.sum()
        return torch.autograd.grad(value, list(controller.parameters()))

    return work
