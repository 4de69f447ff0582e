"""The propagation ``unscented``: a few points, chosen and weighted to have the belief's moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imagine_cli.belief import (
    ActionBelief,
    Belief,
    joint,
    lower_root,
    nearest_covariance,
    product,
    symmetrise,
)
from imagine_cli.errors import InputError
from imagine_cli.propagation.base import State
from imagine_cli.propagation.gaussian import GaussianPropagation
from imagine_cli.world_models.interfaces import Prediction, SupportsPoints
from imagine_cli.world_models.model_error import ModelError, joint_cross, variances_at

if TYPE_CHECKING:
    from imagine_cli.propagation.noise import Noise


@dataclass(frozen=True)
class Unscented(GaussianPropagation):
    """The unscented transform (Julier & Uhlmann 2004), with the scaling of van der Merwe 2004.

    With E = D, or D + F where the action has a covariance, it takes 2E + 1 points: the mean, and
    the mean plus and minus ``√(E + λ)`` times each column of a lower root of the covariance, where
    ``λ = α² (E + κ) - E``. Their weights are ``λ / (E + λ)`` and ``1 / (2 (E + λ))``; in
    covariances the first one has ``1 - α² + β`` more. To the covariance of the points' means
    comes the average of their variances. Exact for a linear model, and in the mean for a
    quadratic one.

    Of a model with a :class:`~imagine_cli.world_models.model_error.ModelError` the points are those
    of observation, action and its z together, of E + D dimensions.

    Attributes:
        alpha: how far out the points are, more than 0; 1 is unscaled.
        beta: 0, or 2 for the best fourth moment of a Gaussian with a small alpha.
        kappa: above -E. None takes ``max(3 - E, 0)``: a Gaussian's fourth moment along each axis
            where E <= 3, and no negative weight at any E. With a negative one a weighted sum may
            be no covariance or variance; the nearest that is one is taken then.
    """

    alpha: float = 1.0
    beta: float = 0.0
    kappa: float | None = None

    name = "unscented"
    needs = SupportsPoints

    def __post_init__(self) -> None:
        if not self.alpha > 0.0:
            raise InputError(f"the unscented transform needs an alpha above 0, not {self.alpha}")

    @property
    def description(self) -> str:
        kappa = "max(3-E,0)" if self.kappa is None else f"{self.kappa:g}"
        return f"unscented(alpha={self.alpha:g}, beta={self.beta:g}, kappa={kappa})"

    def advance(
        self,
        model: SupportsPoints,
        belief: Belief,
        action: ActionBelief,
        state: State,
        noise: Noise,
    ) -> tuple[Prediction, State]:
        size = belief.mean.shape[-1]
        certain = action.var is None and action.cross_covariance is None
        around = belief if certain else joint(belief, action)
        inputs, error = around.mean.shape[-1], model.model_error
        if error is not None:
            around = _with_error(around, action, state["error"], error)
        points, in_mean, in_var = self._points(around)
        u = points[..., size:inputs]
        if certain:
            u = action.mean.unsqueeze(-2).expand(*points.shape[:-1], -1)
        at = model.conditional(points[..., :size], u)
        means = at.mean
        if error is not None:
            z = points[..., inputs:]
            means = torch.cat([means + error.scale(variances_at(at)) * z, z], dim=-1)
            at = error.noise(at)
        mean, spread = _moments(means, in_mean, in_var)
        if error is not None:
            after = error.persistence.to(spread.dtype) * spread[..., :size, size:]
            state = {**state, "error": after}
            mean, spread = mean[..., :size], spread[..., :size, :size]
        within = (in_mean[:, None, None] * at.covariance).sum(-3)
        reward, reward_var = at.reward_mean, None
        if reward is not None:
            reward, across = _moments(reward.unsqueeze(-1), in_mean, in_var)
            reward, reward_var = reward[..., 0], across[..., 0, 0]
            if at.reward_var is not None:
                reward_var = reward_var + (in_mean * at.reward_var).sum(-1)
        var = symmetrise(spread + within)
        if float(torch.minimum(in_mean[0], in_var[0])) < 0.0:
            var, _ = nearest_covariance(var)
            reward_var = None if reward_var is None else reward_var.clamp_min(0.0)
        return Prediction(mean, var, reward, reward_var), state

    def _points(self, belief: Belief) -> tuple[Tensor, Tensor, Tensor]:
        """Sigma points ``(*B, 2E+1, E)`` and their weights in means and covariances."""
        mean, var = belief
        size = mean.shape[-1]
        kappa = max(3.0 - size, 0.0) if self.kappa is None else self.kappa
        stretch = self.alpha**2 * (size + kappa)  # E + λ
        if not stretch > 0.0:
            raise InputError(
                f"the unscented transform in {size} dimensions needs a kappa above {-size}, "
                f"not {kappa}"
            )
        steps = stretch**0.5 * lower_root(var).mT
        centre = mean.unsqueeze(-2)
        points = torch.cat([centre, centre + steps, centre - steps], dim=-2)
        in_mean = mean.new_full((2 * size + 1,), 0.5 / stretch)
        in_mean[0] = 1.0 - size / stretch
        in_var = in_mean.clone()
        in_var[0] += 1.0 - self.alpha**2 + self.beta
        return points, in_mean, in_var


def _with_error(around: Belief, action: ActionBelief, cross: Tensor, error: ModelError) -> Belief:
    """The belief over ``[x, z]`` or ``[x, u, z]``, of C ``(*B, D, D)``."""
    mean, var = around
    cross = joint_cross(cross, action)
    cross = torch.nn.functional.pad(cross, (0, 0, 0, var.shape[-1] - cross.shape[-2]))
    own = error.correlation.to(var.dtype).expand(*var.shape[:-2], -1, -1)
    upper, lower = torch.cat([var, cross], dim=-1), torch.cat([cross.mT, own], dim=-1)
    size = own.shape[-1]
    return Belief(torch.nn.functional.pad(mean, (0, size)), torch.cat([upper, lower], dim=-2))


def _moments(values: Tensor, in_mean: Tensor, in_var: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean ``(*B, K)`` and covariance ``(*B, K, K)`` of values ``(*B, points, K)``."""
    # Differences from the first point, so that equal values have a covariance of zero.
    differences = values - values[..., :1, :]
    shift = (in_mean.unsqueeze(-1) * differences).sum(-2, keepdim=True)
    centred = differences - shift
    covariance = product((in_var.unsqueeze(-1) * centred).mT, centred)
    return (values[..., :1, :] + shift)[..., 0, :], covariance
