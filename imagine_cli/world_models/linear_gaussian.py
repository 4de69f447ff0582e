"""The linear-Gaussian world model: every propagation of it has a closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, joint, product, symmetrise
from imagine_cli.errors import InputError
from imagine_cli.world_models.base import DTYPES, WorldModel
from imagine_cli.world_models.interfaces import Conditional, Prediction

_DATA = ("transition", "control", "offset", "noise_covariance")
_REWARD = ("reward_weights", "reward_offset", "reward_variance")


class LinearGaussianWorldModel(WorldModel):
    """``x' = A x + B u + c + w`` with ``w ~ N(0, Q)``; perhaps ``r = a·[x, u] + d + v``.

    A Gaussian belief stays one, so that mean and covariance are all there is and
    ``Σ' = [A B] Σ̃ [A B]ᵀ + Q`` is exact. A baseline that can be fitted, and what every
    propagation can be checked against. All arithmetic is float64 unless the module is cast;
    ``dtype`` is that of the beliefs that go in and out.
    """

    kind = "linear"
    propagation = "moments"

    transition: Tensor
    control: Tensor
    offset: Tensor
    noise_covariance: Tensor
    reward_weights: Tensor
    reward_offset: Tensor
    reward_variance: Tensor

    def __init__(self, data: dict[str, Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        self.observation_size, self.action_size = data["control"].shape
        self.dtype = dtype
        self.has_reward = "reward_weights" in data
        if self.has_reward:
            self.out_keys += [("next", "reward", "mean"), ("next", "reward", "var")]
        for name, value in data.items():
            self.register_buffer(name, value)

    @classmethod
    def from_parameters(
        cls,
        transition: Any,
        control: Any,
        offset: Any,
        noise_covariance: Any,
        *,
        reward_weights: Any = None,
        reward_offset: Any = 0.0,
        reward_variance: Any = 0.0,
        dtype: torch.dtype = torch.float64,
    ) -> LinearGaussianWorldModel:
        """The model of given parameters.

        Args:
            transition: A, ``(D, D)``.
            control: B, ``(D, F)``.
            offset: c, ``(D,)``.
            noise_covariance: Q, ``(D, D)``, symmetric positive semi-definite; zero is fine.
            reward_weights: a, ``(D+F,)``, or None for a model without a reward.
            reward_offset: d.
            reward_variance: of v, 0 or more.
            dtype: of the beliefs that go in and come out.

        Raises:
            InputError: shapes that don't fit together, numbers that are not finite, or a Q that
                is no covariance.
        """
        given = dict(zip(_DATA, (transition, control, offset, noise_covariance), strict=True))
        if reward_weights is not None:
            rewards = (reward_weights, reward_offset, reward_variance)
            given.update(zip(_REWARD, rewards, strict=True))
        data = {
            name: torch.as_tensor(value, dtype=torch.float64).detach().clone()
            for name, value in given.items()
        }
        _validate(data)
        data["noise_covariance"] = symmetrise(data["noise_covariance"])
        return cls(data, dtype)

    def moments(self, belief: Belief, action: ActionBelief) -> Prediction:
        x = joint(belief, action)
        at = self.conditional(belief.mean, action.mean)
        var = x.var.to(self.transition.dtype)
        weights = torch.cat([self.transition, self.control], dim=1)
        next_var = symmetrise(_sandwich(weights, var) + self.noise_covariance)
        reward_var = at.reward_var
        if reward_var is not None:
            spread = _sandwich(self.reward_weights.unsqueeze(0), var)[..., 0, 0]
            reward_var = (spread + self.reward_variance).to(self.dtype)
        slope = weights.to(self.dtype).expand(*x.mean.shape[:-1], *weights.shape)
        return Prediction(at.mean, next_var.to(self.dtype), at.reward_mean, reward_var, slope)

    def conditional(self, x: Tensor, u: Tensor, member: Tensor | None = None) -> Conditional:
        points = torch.cat([x, u], dim=-1).to(self.transition.dtype)
        weights = torch.cat([self.transition, self.control], dim=1)
        mean = _apply(weights, points) + self.offset
        covariance = self.noise_covariance.view(*(1,) * (x.ndim - 1), *self.noise_covariance.shape)
        reward, reward_var = None, None
        if self.has_reward:
            reward = _apply(self.reward_weights.unsqueeze(0), points)[..., 0] + self.reward_offset
            reward = reward.to(self.dtype)
            reward_var = self.reward_variance.expand(reward.shape).to(self.dtype)
        return Conditional(mean.to(self.dtype), covariance.to(self.dtype), reward, reward_var)

    def config(self) -> dict[str, Any]:
        return {"dtype": str(self.dtype).removeprefix("torch.")}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], state: dict[str, Tensor]
    ) -> LinearGaussianWorldModel:
        expected = {*_DATA, *_REWARD} if set(state) & set(_REWARD) else set(_DATA)
        if set(state) != expected:
            raise InputError(
                f"a linear-Gaussian model needs {', '.join(sorted(expected))} in its state_dict, "
                f"and there is {', '.join(sorted(state)) or 'nothing'}"
            )
        if str(config.get("dtype")) not in DTYPES:
            raise InputError(
                "a linear-Gaussian model needs dtype (float32 or float64) in its config, "
                f"not {config}"
            )
        return cls.from_parameters(**state, dtype=DTYPES[config["dtype"]])

    def describe(self) -> dict[str, Any]:
        eigenvalues = torch.linalg.eigvals(self.transition).abs()
        return {
            "largest eigenvalue of A": float(eigenvalues.max()),
            "noise standard deviations": self.noise_covariance.diagonal().sqrt().tolist(),
        }


def _apply(weights: Tensor, points: Tensor) -> Tensor:
    """``weights`` ``(K, E)`` times each of ``(*S, E)``, one multiplication after the other.

    Not a matrix product, whose rounding may depend on how many points there are.
    """
    return (points.unsqueeze(-2) * weights).sum(-1)


def _sandwich(weights: Tensor, var: Tensor) -> Tensor:
    """``W V Wᵀ`` of ``(K, E)`` and ``(*B, E, E)``."""
    return product(product(weights, var), weights.mT)


def _validate(data: dict[str, Tensor]) -> None:
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in data.items())
    control = data["control"]
    if control.ndim != 2 or control.shape[0] < 1:
        raise InputError(f"a linear-Gaussian model needs a control matrix (D, F): {shapes}")
    size, actions = control.shape
    expected: dict[str, tuple[int, ...]] = {
        "transition": (size, size),
        "offset": (size,),
        "noise_covariance": (size, size),
        "reward_weights": (size + actions,),
        "reward_offset": (),
        "reward_variance": (),
    }
    for name, value in data.items():
        if name in expected and tuple(value.shape) != expected[name]:
            raise InputError(
                f"the {name} of a linear-Gaussian model has the wrong shape, not {expected[name]}: "
                f"{shapes}"
            )
        if not torch.isfinite(value).all():
            raise InputError(f"the {name} of a linear-Gaussian model is not finite everywhere")
    noise = data["noise_covariance"]
    largest = float(noise.abs().max())
    if not torch.allclose(noise, noise.mT, rtol=1e-9, atol=1e-12 * largest) or (
        torch.linalg.eigvalsh(noise).min() < -1e-9 * largest
    ):
        raise InputError("the noise_covariance of a linear-Gaussian model is not a covariance")
    if data.get("reward_variance", noise.new_zeros(())) < 0:
        raise InputError("the reward_variance of a linear-Gaussian model is negative")
