"""What happens to beliefs that are not finite: an error that names them, or NaN from there on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.policies.base import Policy
from imagine_cli.rollout.position import Position
from imagine_cli.unroll import Dynamics, Step, unroll
from imagine_cli.world_models.interfaces import Prediction

CANT_GO_ON = (ImagineError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Failure:
    """A trajectory whose belief stopped being finite, or could not be computed, at a step."""

    trajectory: int
    step: int
    reason: str


def check_finite(
    numbers: dict[str, np.ndarray], first: int, first_step: int, names: Sequence[str]
) -> None:
    """Raises ImagineError where a belief or a reward of a shard's numbers is not finite.

    The belief number 0 of the shard is the one that step ``first_step`` began from.
    """
    fields = [(f"observation/{part}", 1) for part in ("mean", "var")]
    fields += [(f"reward/{part}", 0) for part in ("mean", "var")]
    if all(np.isfinite(numbers[name].sum()) for name, _ in fields if name in numbers):
        return
    found: list[tuple[int, int, str]] = []
    for name, offset in fields:
        if name not in numbers:
            continue
        bad = ~np.isfinite(numbers[name])
        if bad.any():
            where = np.argwhere(bad)
            where = where[np.lexsort((where[:, 0], where[:, 1]))]
            row, k = int(where[0, 0]), int(where[0, 1]) - offset
            place = f"dimension {names[where[0, 2]]}" if offset else "in its reward"
            found.append((k, row, place))
    if not found:  # a sum alone overflowed
        return
    step, row, place = min(found, key=lambda entry: entry[:2])
    raise ImagineError(
        f"the belief is not finite at step {first_step + step + 1} of trajectory "
        f"{first + row}, {place}: the model leaves the numbers it "
        "was made for; take fewer --steps, another --start or --policy, or --on-nonfinite mask"
    )


def blame(
    cause: Exception, dynamics: Dynamics, policy: Policy, position: Position, steps: range
) -> ImagineError:
    """An error that names the first trajectory which can't go on, found one by one."""
    errors: list[tuple[int, int, Exception]] = []
    for row in range(len(position.failed)):
        alone, done = position.row(row), 0
        try:
            for _ in _from(dynamics, policy, alone, steps):
                done += 1
        except CANT_GO_ON as error:
            errors.append((steps.start + done, alone.first, error))
    if not errors:
        return ImagineError(str(cause))
    step, trajectory, why = min(errors, key=lambda entry: entry[:2])
    return ImagineError(f"at step {step + 1} of trajectory {trajectory}: {why}")


def _from(dynamics: Dynamics, policy: Policy, at: Position, steps: range) -> Iterator[Step]:
    states = (at.state, at.policy_state)
    return unroll(dynamics, policy, at.belief, states, at.noise, len(steps), steps.start)


def mask_failures(
    dynamics: Dynamics,
    policy: Policy,
    position: Position,
    steps: range,
    names: Sequence[str],
    action_size: int,
    failures: list[Failure],
) -> Iterator[Step]:
    """As :func:`unroll`, where a trajectory that stops being finite is NaN from there on.

    Unseen, it goes on from where all of them were at the beginning of ``steps``, so that it stays
    harmless. ``position`` goes along; ``failures`` gets those that fail.
    """
    harmless = Position(**{**vars(position)})
    for step in range(steps.start, steps.stop):
        drawn = position.noise.state()
        try:
            (taken,) = _from(dynamics, policy, position, range(step, step + 1))
        except InputError:
            raise
        except CANT_GO_ON:
            position.noise.go_to(drawn)
            taken = _one_by_one(dynamics, policy, position, step, action_size, failures)
        before = position.failed.clone()
        position.follow(taken)
        finite = _finite(taken.prediction)
        for row in (~finite & ~before).nonzero()[:, 0].tolist():
            if not any(failure.trajectory == position.first + row for failure in failures):
                place = _place(taken.belief, row, names)
                failures.append(Failure(position.first + row, step + 1, place))
        position.failed = before | ~finite
        if position.failed.any():
            _replace(position, harmless)
        yield _hidden(taken, before, position.failed) if position.failed.any() else taken


def _one_by_one(
    dynamics: Dynamics,
    policy: Policy,
    position: Position,
    step: int,
    action_size: int,
    failures: list[Failure],
) -> Step:
    """One step, each trajectory by itself, so that who can't go on holds up no one."""
    taken: list[Step | None] = []
    for row in range(len(position.failed)):
        alone = position.row(row)
        try:
            (one,) = _from(dynamics, policy, alone, range(step, step + 1))
        except InputError:
            raise
        except CANT_GO_ON as error:
            if not position.failed[row]:
                failures.append(Failure(alone.first, step + 1, str(error)))
            taken.append(None)
        else:
            taken.append(one)
    like = next((one for one in taken if one is not None), None)
    if like is None:
        alone = position.row(0)
        action = ActionBelief(alone.belief.mean.new_empty(1, action_size))
        like = Step(action, Prediction(*alone.belief), alone.state, alone.policy_state)
    unknown = _map(like, lambda part: part.new_full(part.shape, _nan(part)))
    together: Step = _zip([unknown if one is None else one for one in taken])
    return together


def _nan(part: Tensor) -> Any:
    return torch.nan if part.is_floating_point() else 0


def _map(part: Any, call: Callable[[Tensor], Tensor]) -> Any:
    """Every tensor of nested tuples and dicts."""
    if isinstance(part, Tensor):
        return call(part)
    if isinstance(part, dict):
        return {name: _map(value, call) for name, value in part.items()}
    if isinstance(part, tuple):
        return type(part)(*(_map(value, call) for value in part))
    return part


def _zip(rows: list[Any]) -> Any:
    one = rows[0]
    if isinstance(one, Tensor):
        return torch.cat(rows)
    if isinstance(one, dict):
        return {name: _zip([row[name] for row in rows]) for name in one}
    if isinstance(one, tuple):
        return type(one)(*(_zip(list(values)) for values in zip(*rows, strict=True)))
    return one


def _replace(position: Position, harmless: Position) -> None:
    """The failed rows by harmless ones."""
    failed = position.failed

    def chosen(yes: Any, no: Any) -> Any:
        if isinstance(no, dict):
            return {name: chosen(yes[name], value) for name, value in no.items()}
        rows = failed.reshape(-1, *(1,) * (no.ndim - 1))
        return torch.where(rows, yes, no)

    position.belief = Belief(*map(chosen, harmless.belief, position.belief))
    position.state = chosen(harmless.state, position.state)
    position.policy_state = chosen(harmless.policy_state, position.policy_state)


def _hidden(step: Step, before: Tensor, now: Tensor) -> Step:
    """The step with NaN for those that failed: actions too where they had failed ``before``."""

    def hide(part: Tensor | None, rows: Tensor) -> Tensor | None:
        if part is None:
            return None
        return part.masked_fill(rows.reshape(-1, *(1,) * (part.ndim - 1)), torch.nan)

    prediction = Prediction(*(hide(part, now) for part in step.prediction))  # type: ignore[arg-type]
    action = ActionBelief(*(hide(part, before) for part in step.action))  # type: ignore[arg-type]
    state = {
        name: hide(value, now) if value.is_floating_point() else value
        for name, value in step.state.items()
    }
    return Step(action, prediction, state, step.policy_state)  # type: ignore[arg-type]


def _finite(prediction: Prediction) -> Tensor:
    finite = torch.isfinite(prediction.mean).all(-1) & torch.isfinite(prediction.var).all((-2, -1))
    for reward in (prediction.reward_mean, prediction.reward_var):
        if reward is not None:
            finite = finite & torch.isfinite(reward)
    return finite


def _place(belief: Belief, row: int, names: Sequence[str]) -> str:
    bad = ~(torch.isfinite(belief.mean[row]) & torch.isfinite(belief.var[row]).all(-1))
    return f"dimension {names[int(bad.nonzero()[0])]}" if bad.any() else "in its reward"
