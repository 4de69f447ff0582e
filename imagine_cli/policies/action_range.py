"""Sequences of an env's actions as what a planner searches among."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from imagine_cli.environments import EnvDescription


class ActionRange:
    """Between bounds, or one-hot choices: where a search begins, and candidates around a mean.

    The mean of continuous actions is one; that of discrete ones holds the choices' probabilities.

    Attributes:
        start: the mean that nothing is known of, ``(F,)``: the middle between two bounds, else
            what is nearest to 0; every choice as likely as the others.
        scale: half the distance of two bounds, else 1, ``(F,)``.
    """

    def __init__(self, env: EnvDescription, dtype: torch.dtype, device: torch.device | str) -> None:
        self._choices = list(env.choices)
        low, high = env.action_low, env.action_high
        bounded = np.isfinite(low) & np.isfinite(high)
        half = np.where(bounded, 0.5 * high - 0.5 * low, 1.0)
        start = np.where(bounded, 0.5 * low + 0.5 * high, np.clip(0.0, low, high))
        if self._choices:
            start = np.concatenate([np.full(n, 1.0 / n) for n in self._choices])
        self._low, self._high, self.start, self.scale = (
            torch.from_numpy(part).to(device=device, dtype=dtype)
            for part in (low, high, start, half)
        )

    def again(self, mean: Tensor, std: float) -> Tensor:
        """A mean of the step before, ``(*S, F)``, to begin a search around with ``std``.

        Discrete choices get part of their first probabilities back, as nothing else says how far
        to look.
        """
        share = min(std, 1.0)
        return (1.0 - share) * mean + share * self.start if self._choices else mean

    def around(self, mean: Tensor, std: Tensor, standard: Tensor) -> Tensor:
        """Candidates ``(*S, F)`` of standard normal numbers ``(*S, F)``.

        Discrete ones by the Gumbel-max trick: each is drawn with the probabilities that ``mean``
        holds, and numbers that are correlated in time make choices that are.
        """
        if not self._choices:
            return self.allowed(mean + std * standard)
        tiny = torch.finfo(mean.dtype).eps
        uniform = torch.special.ndtr(standard).clamp(tiny, 1.0 - tiny)
        return self.allowed(mean.log() - (-uniform.log()).log())

    def allowed(self, actions: Tensor) -> Tensor:
        """Within the bounds; of discrete ones the largest, one-hot."""
        if not self._choices:
            return torch.minimum(torch.maximum(actions, self._low), self._high)
        parts = torch.split(actions, self._choices, dim=-1)
        hot = [
            torch.nn.functional.one_hot(part.argmax(-1), part.shape[-1]).to(actions.dtype)
            for part in parts
        ]
        return torch.cat(hot, dim=-1)
