"""Random Gaussian-process world models, and beliefs near their data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, joint
from imagine_cli.world_models.gp.exact import GaussianProcessWorldModel
from imagine_cli.world_models.gp.moment_matching import moment_match

__all__ = ["match", "random_belief", "random_model", "smooth_model", "stacked"]


def match(
    model: GaussianProcessWorldModel, belief: Belief, action: ActionBelief
) -> tuple[Tensor, Tensor, Tensor]:
    """μ_Δ, Σ_Δ and V of one unbatched step."""
    x = joint(belief, action)
    mean, var, gain = moment_match(model.constants, x.mean.unsqueeze(0), x.var.unsqueeze(0))
    return mean[0], var[0], gain[0]


def stacked(
    model: GaussianProcessWorldModel, count: int, size: float, seed: int = 0
) -> tuple[Belief, ActionBelief]:
    """``count`` different beliefs as one batch, with everything an action can carry."""
    pairs = [
        random_belief(model, 1000 * seed + k, size, action="policy", rank=1 if k % 3 == 2 else None)
        for k in range(count)
    ]
    belief = Belief(*(torch.stack(part) for part in zip(*(b for b, _ in pairs), strict=True)))
    action = ActionBelief(*(torch.stack(p) for p in zip(*(u for _, u in pairs), strict=True)))  # type: ignore[arg-type]
    return belief, action


def random_model(
    seed: int,
    outputs: int,
    actions: int,
    n: int,
    *,
    noise: tuple[float, float] = (1e-3, 1e-1),
    units: bool = True,
    process_noise: bool = True,
) -> GaussianProcessWorldModel:
    """Random data, length-scales from 0.5 to 3, ``noise`` the ratio of noise to signal variance.

    With ``units`` every input and output dimension is in a unit of its own, from 0.01 to 100.
    """
    g = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=g, dtype=torch.float64)

    size = outputs + actions
    unit = 10 ** uniform(-2, 2, size) if units else torch.ones(size, dtype=torch.float64)
    signal = uniform(0.2, 2.0, outputs) * unit[:outputs].square()
    ratio = 10 ** uniform(math.log10(noise[0]), math.log10(noise[1]), outputs)
    return GaussianProcessWorldModel.from_hyperparameters(
        inputs=torch.randn(n, size, generator=g, dtype=torch.float64) * unit,
        targets=torch.randn(n, outputs, generator=g, dtype=torch.float64) * signal.sqrt(),
        lengthscales=uniform(0.5, 3.0, outputs, size) * unit,
        signal_variances=signal,
        noise_variances=ratio * signal,
        process_noise=process_noise,
    )


def smooth_model(
    seed: int, outputs: int, actions: int, n: int, signal_to_noise: float
) -> GaussianProcessWorldModel:
    """As a good fit of a smooth system looks: targets sin-like, and a tiny noise.

    ``signal_to_noise`` is the ratio of standard deviations.
    """
    g = torch.Generator().manual_seed(seed)
    size = outputs + actions
    inputs = 4.0 * torch.rand(n, size, generator=g, dtype=torch.float64) - 2.0
    ways = torch.randn(size, outputs, generator=g, dtype=torch.float64) / size**0.5
    noise = torch.randn(n, outputs, generator=g, dtype=torch.float64) / signal_to_noise
    return GaussianProcessWorldModel.from_hyperparameters(
        inputs=inputs,
        targets=torch.sin(inputs @ ways) + noise,
        lengthscales=1.5 + torch.rand(outputs, size, generator=g, dtype=torch.float64),
        signal_variances=torch.ones(outputs, dtype=torch.float64),
        noise_variances=torch.full((outputs,), signal_to_noise**-2.0, dtype=torch.float64),
    )


def random_belief(
    model: GaussianProcessWorldModel,
    seed: int,
    size: float,
    *,
    rank: int | None = None,
    action: str = "mean",
) -> tuple[Belief, ActionBelief]:
    """A belief near the model's data with variances of about ``size`` squared length-scales.

    ``rank`` makes Σ singular. ``action`` is "mean", "var" (independent of the observation) or
    "policy" (linear in it with noise, so that the joint covariance is one).
    """
    g = torch.Generator().manual_seed(seed)
    outputs, actions = model.observation_size, model.action_size
    unit = model.lengthscales.mean(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    mean = 0.7 * normal(outputs + actions) * unit
    root = normal(outputs, outputs if rank is None else rank) * unit[:outputs, None]
    var = size * (root @ root.mT) / outputs
    belief = Belief(mean[:outputs], 0.5 * (var + var.mT))
    if action == "mean" or actions == 0:
        return belief, ActionBelief(mean[outputs:])
    noise = normal(actions, actions) * unit[outputs:, None]
    noise = size * (noise @ noise.mT) / actions
    noise = 0.5 * (noise + noise.mT)
    if action == "var":
        return belief, ActionBelief(mean[outputs:], noise)
    slope = 0.5 * normal(outputs, actions) * unit[outputs:] / unit[:outputs, None]
    action_var = slope.mT @ belief.var @ slope + noise
    return belief, ActionBelief(mean[outputs:], 0.5 * (action_var + action_var.mT), slope)
