"""Trajectories that are imagined together, and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from imagine_cli.belief import Belief
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.imagined_env import ImaginedEnv
from imagine_cli.policies.base import Policy
from imagine_cli.propagation.noise import TrajectoryNoise
from imagine_cli.rollout.block import Block

__all__ = ["Batch", "Failure", "OnStep"]

OnStep = Callable[[int, Belief], None]
"""Called with how many trajectories went one step on, and their beliefs there."""

_CANT_GO_ON = (ImagineError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Failure:
    """A trajectory whose belief stopped being finite, or could not be computed, at a step."""

    trajectory: int
    step: int
    reason: str


class Batch:
    """Trajectories number ``first`` on, from their start; :meth:`imagine` goes on step by step.

    What happens in a trajectory does not depend on those beside it, nor on whether one of them
    fails: a failed one goes on from its start, unseen, so that it stays harmless.

    Args:
        env, policy: what imagines and what acts.
        belief: the start, ``(b, D)`` and ``(b, D, D)``.
        noise: what the propagation draws from.
        first: the number of the first trajectory.
        names: of the observation dimensions, for errors.
        mask: whether a failed trajectory becomes NaN, and the others go on.

    Attributes:
        belief, state: where it is.
        failed: ``(b,)`` bool, the trajectories that failed.
        failures: of those, the first step where they did, as far as it was imagined here.
    """

    def __init__(
        self,
        env: ImaginedEnv,
        policy: Policy,
        belief: Belief,
        noise: TrajectoryNoise,
        first: int,
        names: list[str],
        *,
        mask: bool,
    ) -> None:
        self._env, self._policy, self._names, self._mask = env, policy, names, mask
        self.first, self.noise = first, noise
        self.belief = self._start = belief
        self.state = self._start_state = env.begin(belief, noise)
        self.failed = torch.zeros(len(belief.mean), dtype=torch.bool, device=belief.mean.device)
        self.failures: list[Failure] = []
        policy.start(first, len(belief.mean))

    def go_on_from(self, belief: Belief) -> None:
        """Continue from a belief that it had before; where it carries nothing else alone."""
        self.belief = belief
        self.failed = ~_finite(belief)
        self._replace_failed()

    def imagine(self, block: Block, first_step: int, on_step: OnStep | None) -> None:
        """As many steps as ``block`` has room for. Raises ImagineError unless masking."""
        b, t = block.mean.shape[:2]
        before = self.belief, self.state, self.noise.copy(), self.failed, list(self.failures)
        for k in range(t):
            try:
                self._step(block, k, first_step)
            except InputError:
                raise
            except _CANT_GO_ON:
                if not self._mask:
                    block.check_finite(k, self.first, first_step, self._names)
                self.belief, self.state, self.noise, self.failed, self.failures = before
                self._one_by_one(block, first_step)
                if on_step is not None:
                    for later in range(k, t):
                        on_step(b, Belief(block.mean[:, later], block.var[:, later]))
                break
            if on_step is not None:
                on_step(b, Belief(block.mean[:, k], block.var[:, k]))
        if not self._mask:
            block.check_finite(t, self.first, first_step, self._names)

    def _step(self, block: Block, k: int, first_step: int) -> None:
        action = self._policy.act(first_step + k, self.belief)
        prediction, self.state = self._env.advance(self.belief, action, self.state, self.noise)
        self.belief = Belief(prediction.mean, prediction.var)
        block.put(k, action, prediction, self.state)
        if not self._mask:
            return
        finite = _finite(self.belief)
        for reward in (prediction.reward_mean, prediction.reward_var):
            if reward is not None:
                finite = finite & torch.isfinite(reward)
        if self.failed.any():
            block.hide(self.failed, k, k + 1)
        if not finite.all():
            fresh = ~finite & ~self.failed
            block.hide(fresh, k, k + 1, actions=False)
            for row in fresh.nonzero()[:, 0].tolist():
                self._note(row, first_step + k, _place(self.belief, row, self._names))
            self.failed = self.failed | ~finite
        self._replace_failed()

    def _one_by_one(self, block: Block, first_step: int) -> None:
        """The block again, each trajectory by itself, so that who can't go on holds up no one."""
        t = block.mean.shape[1]
        rows: list[_Alone] = []
        errors: list[tuple[int, int, Exception]] = []
        for row in range(len(self.failed)):
            alone = _Alone(self, row)
            part = block.row(row)
            if self.failed[row]:
                part.hide(0, 0, t)
            else:
                k = 0
                try:
                    for k in range(t):
                        alone._step(part, k, first_step)
                except InputError:
                    raise
                except _CANT_GO_ON as error:
                    errors.append((first_step + k, row, error))
                    alone.failed[0] = True
                    alone._replace_failed()
                    part.hide(0, k, t)
                    self._note(row, first_step + k, str(error))
                self.failures += alone.failures
            block.set_row(row, part)
            rows.append(alone)
        self._policy.start(self.first, len(rows))
        if errors and not self._mask:
            step, row, cause = min(errors, key=lambda entry: entry[:2])
            raise ImagineError(
                f"at step {step + 1} of trajectory {self.first + row}: {cause}"
            ) from cause
        self.failed = torch.cat([alone.failed for alone in rows])
        self.belief = Belief(
            torch.cat([alone.belief.mean for alone in rows]),
            torch.cat([alone.belief.var for alone in rows]),
        )
        self.state = {name: torch.cat([alone.state[name] for alone in rows]) for name in self.state}

    def _replace_failed(self) -> None:
        if self.failed.any():
            mean, var = self.belief
            self.belief = Belief(
                _where(self.failed, self._start.mean, mean),
                _where(self.failed, self._start.var, var),
            )
            self.state = {
                name: _where(self.failed, self._start_state[name], value)
                for name, value in self.state.items()
            }

    def _note(self, row: int, step: int, reason: str) -> None:
        self.failures.append(Failure(self.first + row, step + 1, reason))


class _Alone(Batch):
    """One trajectory of a batch, where that is."""

    def __init__(self, whole: Batch, row: int) -> None:
        some = slice(row, row + 1)
        self._env, self._policy, self._names = whole._env, whole._policy, whole._names
        self._mask = whole._mask
        self.first, self.noise = whole.first + row, whole.noise.only(row)
        self.belief = Belief(*(tensor[some] for tensor in whole.belief))
        self._start = Belief(*(tensor[some] for tensor in whole._start))
        self.state = {name: value[some] for name, value in whole.state.items()}
        self._start_state = {name: value[some] for name, value in whole._start_state.items()}
        self.failed = whole.failed[some].clone()
        self.failures = []
        self._policy.start(self.first, 1)


def _finite(belief: Belief) -> Tensor:
    return torch.isfinite(belief.mean).all(-1) & torch.isfinite(belief.var).all(-1).all(-1)


def _where(rows: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(rows.reshape(-1, *(1,) * (no.ndim - 1)), yes, no)


def _place(belief: Belief, row: int, names: list[str]) -> str:
    bad = ~(torch.isfinite(belief.mean[row]) & torch.isfinite(belief.var[row]).all(-1))
    if not bad.any():
        return "in its reward"
    return f"dimension {names[int(bad.nonzero()[0])]}"
