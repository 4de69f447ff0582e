"""One step of many particles through an ensemble: ours, mbrl-lib's, and the floor.

The floor is the time that the same multiplications take in one large float32 matrix product of
torch. Fused layers can take less on a CPU where oneDNN's products are faster than those of MKL.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from imagine_cli.benchmarks.table import Bench, Row
from imagine_cli.benchmarks.timing import Work
from imagine_cli.world_models import EnsembleWorldModel

_SIZE, _ACTIONS, _MEMBERS = 3, 1, 5
_WIDTHS = (_SIZE + _ACTIONS, 200, 200, 200, 200, 2 * _SIZE)


def step(bench: Bench) -> Iterator[Row]:
    """Each particle follows a member of its own choice; D=3, F=1, 5 members of 4 x 200."""
    model = _ours().to(bench.device)
    for particles in (1_000,) if bench.quick else (1_000, 20_000):
        like: dict[str, Any] = {"device": bench.device, "dtype": torch.float32}
        x, u = torch.randn(particles, _SIZE, **like), torch.randn(particles, _ACTIONS, **like)

        def ours(x: torch.Tensor = x, u: torch.Tensor = u) -> torch.Tensor:
            member = torch.randperm(len(x), device=x.device) % _MEMBERS
            at = model.conditional(x, u, member)
            sampled: torch.Tensor = at.mean + at.var.sqrt() * torch.randn_like(x)
            return sampled

        with torch.no_grad():
            yield bench.row(
                "ensemble",
                f"a step of {particles} particles",
                ours,
                _peers(x, u),
                {"matrix product": _product(particles, like)},
            )


def _ours() -> EnsembleWorldModel:
    g = torch.Generator().manual_seed(0)
    pairs = list(pairwise(_WIDTHS))
    return EnsembleWorldModel.from_parameters(
        [torch.randn(_MEMBERS, a, b, generator=g) / a**0.5 for a, b in pairs],
        [torch.zeros(_MEMBERS, b) for _, b in pairs],
        min_logvar=torch.full((_SIZE,), -10.0),
        max_logvar=torch.full((_SIZE,), 0.5),
        dtype=torch.float32,
    )


def _peers(x: torch.Tensor, u: torch.Tensor) -> dict[str, Work]:
    """Those that are installed, with all that they import."""
    try:
        return {"mbrl-lib": _mbrl(x, u)}
    except ImportError:
        return {}


def _mbrl(x: torch.Tensor, u: torch.Tensor) -> Work:
    """mbrl-lib's ModelEnv.step with the same sizes; it samples, as ours does."""
    import gymnasium
    from mbrl.models import GaussianMLP, ModelEnv, OneDTransitionRewardModel

    network = GaussianMLP(
        _WIDTHS[0],
        _SIZE,
        x.device,
        num_layers=4,
        ensemble_size=_MEMBERS,
        hid_size=200,
        propagation_method="random_model",
        activation_fn_cfg={"_target_": "torch.nn.SiLU"},
    )
    model = OneDTransitionRewardModel(network, target_is_delta=True, learned_rewards=False)
    env = ModelEnv(
        gymnasium.make("Pendulum-v1"),
        model,
        lambda action, observation: torch.zeros(len(action), 1, dtype=torch.bool),
        lambda action, observation: torch.zeros(len(action), 1),
        generator=torch.Generator(device=x.device).manual_seed(0),
    )
    state = env.reset(x.cpu().numpy().astype(np.float32), return_as_np=False)
    return lambda: env.step(u, state, sample=True)


def _product(particles: int, like: dict[str, Any]) -> Work:
    """So many multiplications as the layers have, in one product of K = 1024."""
    products = particles * sum(a * b for a, b in pairwise(_WIDTHS))
    depth = 1024
    side = max(1, round((products / depth) ** 0.5))
    left, right = torch.randn(side, depth, **like), torch.randn(depth, side, **like)
    return lambda: torch.mm(left, right)
