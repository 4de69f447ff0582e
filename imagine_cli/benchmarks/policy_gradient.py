"""The gradient of a rollout by a policy's parameters, as policy search needs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torchrl.envs import EnvBase, GymEnv
from torchrl.envs.model_based.imagined import ImaginedEnv as TorchRLImaginedEnv
from torchrl.modules.models.rbf_controller import RBFController

from imagine_cli.benchmarks.moment_matching import gp_for, torchrls
from imagine_cli.benchmarks.table import Bench, Row
from imagine_cli.benchmarks.timing import Work
from imagine_cli.imagined_env import ImaginedEnv

_KEYS = ("mean", "var")


def rollouts(bench: Bench) -> Iterator[Row]:
    """Forward and backward, of both envs under torchrl's RBFController; times are for a step."""
    steps = 5 if bench.quick else 20
    for n in (100,) if bench.quick else (100, 200):
        model = gp_for(n, bench)
        controller = RBFController(model.observation_size, model.action_size, 2.0, n_basis=10)
        controller.to(dtype=torch.float64, device=bench.device)
        real = GymEnv("Pendulum-v1", device=bench.device)
        theirs = TorchRLImaginedEnv(torchrls(model), real, batch_size=[1])
        yield bench.row(
            "policy-gradient",
            f"{steps} steps, n={n}, B=1, a step",
            _gradient(ImaginedEnv(model, real, batch_size=[1]), controller, steps),
            {"torchrl": _gradient(theirs, controller, steps)},
            per=steps,
        )


def _gradient(env: EnvBase, controller: RBFController, steps: int) -> Work:
    policy = TensorDictModule(
        controller,
        in_keys=[("observation", key) for key in _KEYS],
        out_keys=[("action", key) for key in (*_KEYS, "cross_covariance")],
    )
    size = env.observation_spec["observation", "mean"].shape[-1]
    like: dict[str, Any] = {"dtype": torch.float64, "device": env.device}
    var = 0.1 * torch.eye(size, **like).expand(1, size, size)
    start = TensorDict({"observation": {"mean": torch.zeros(1, size, **like), "var": var}}, [1])

    def work() -> object:
        begun = env.reset(start.clone())
        rollout = env.rollout(steps, policy, tensordict=begun, auto_reset=False)
        cost = sum(rollout["next", "observation", key].square().sum() for key in _KEYS)
        return torch.autograd.grad(cost, list(controller.parameters()))

    return work
