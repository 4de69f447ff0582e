"""L-BFGS and Adam, going up a function of a policy that may fail anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, vector_to_parameters

from imagine_cli.errors import ImagineError, InputError, MissingExtraError
from imagine_cli.rollout.nonfinite import CANT_GO_ON

METHODS = ("lbfgs", "adam")

Objective = Callable[[Any], Tensor]


class Iteration(NamedTuple):
    """How a search stands: its number, from 0, which is where it begins; J and ``|dJ/dθ|``."""

    number: int
    value: float
    gradient_norm: float


Tell = Callable[[Iteration], None]


class Found(NamedTuple):
    """The largest J of all evaluations, and how many there were. The policy has its θ."""

    value: float
    evaluations: int


class _Evaluations:
    """J and its gradient at flat parameters, and the best of them."""

    def __init__(self, objective: Objective, policy: torch.nn.Module) -> None:
        self._objective, self._policy = objective, policy
        self._parameters = [p.requires_grad_() for p in policy.parameters()]
        self.initial = _flat(self._parameters)
        self.count, self.last_norm = 0, 0.0
        self.best, self.best_value = self.initial, -float("inf")
        self.first_value, first = self.at(self.initial), ""
        if not np.isfinite(self.first_value[0]):
            first = self.failure or "it is not finite"
            raise ImagineError(
                f"the imagined return of the policy that the search begins with failed: {first}; "
                "a shorter --horizon or another --policy may do"
            )

    def at(self, vector: Tensor) -> tuple[float, Tensor]:
        """J and dJ/dθ; J is NaN where imagination fails or either of them is not finite."""
        self.count += 1
        self.failure = ""
        vector_to_parameters(vector, self._parameters)
        try:
            value = self._objective(self._policy)
            if not value.requires_grad:
                raise InputError(
                    "the world model's predictions have no derivatives by the action, which a "
                    "search by gradients needs"
                )
            parts = torch.autograd.grad(value, self._parameters, allow_unused=True)
        except InputError:
            raise
        except CANT_GO_ON as error:
            self.failure = str(error).splitlines()[0]
            return float("nan"), torch.zeros_like(vector)
        pairs = zip(self._parameters, parts, strict=True)
        gradient = _flat(torch.zeros_like(p) if g is None else g for p, g in pairs)
        number = float(value.detach())
        if not (np.isfinite(number) and bool(torch.isfinite(gradient).all())):
            return float("nan"), torch.zeros_like(vector)
        self.last_norm = float(gradient.norm())
        if number > self.best_value:
            self.best_value, self.best = number, vector.clone()
        return number, gradient

    def found(self) -> Found:
        vector_to_parameters(self.best, self._parameters)
        return Found(self.best_value, self.count)


def _flat(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat([part.detach().flatten() for part in parts])


def lbfgs(
    objective: Objective, policy: torch.nn.Module, *, iterations: int, tell: Tell, **_: Any
) -> Found:
    """Up to ``iterations`` of L-BFGS-B (Byrd et al. 1995), as SciPy has it.

    It ends earlier where nothing is gained any more. Where imagination fails inside a line
    search, J counts as somewhat worse than all it has seen, so that the step is cut short.

    Args:
        objective: J of the policy, a scalar.
        policy: its parameters are θ; they are the best ones in the end.
        iterations: of the optimiser, each of one evaluation or a few.
        tell: called with each iteration.
    """
    optimize = require()
    evaluations = _Evaluations(objective, policy)
    first, gradient = evaluations.first_value
    initial = evaluations.initial
    tell(Iteration(0, first, evaluations.last_norm))
    scale = 1.0 / abs(first) if first else 1.0
    cached: list[tuple[float, Tensor]] = [(first, gradient)]
    seen = [-scale * first]

    def descent(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = (
            cached.pop() if cached else evaluations.at(torch.from_numpy(numbers).to(initial))
        )
        if not np.isfinite(value):
            return max(seen) + (max(seen) - min(seen)) + 1.0, np.zeros_like(numbers)
        seen.append(-scale * value)
        return seen[-1], -scale * gradient.double().cpu().numpy()

    done = 0

    def after(intermediate_result: Any) -> None:
        nonlocal done
        done += 1
        tell(Iteration(done, -float(intermediate_result.fun) / scale, evaluations.last_norm))

    optimize.minimize(
        descent,
        initial.double().cpu().numpy(),
        jac=True,
        method="L-BFGS-B",
        callback=after,
        options={"maxiter": iterations, "maxfun": 25 * iterations, "maxcor": 20,
                 "ftol": 1e-10, "gtol": 1e-9},
    )  # fmt: skip
    return evaluations.found()


def adam(
    objective: Objective,
    policy: torch.nn.Module,
    *,
    iterations: int,
    tell: Tell,
    learning_rate: float = 0.01,
    **_: Any,
) -> Found:
    """``iterations`` steps of Adam (Kingma & Ba 2015), the gradient's norm clipped to one.

    Where imagination fails it goes back to the best parameters, and on with half the rate.

    Args:
        objective, policy, iterations, tell: as in :func:`lbfgs`.
        learning_rate: of Adam.
    """
    evaluations = _Evaluations(objective, policy)
    theta = evaluations.initial.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=learning_rate, maximize=True)
    value, gradient = evaluations.first_value
    tell(Iteration(0, value, evaluations.last_norm))
    for number in range(1, iterations + 1):
        theta.grad = gradient
        clip_grad_norm_([theta], 1.0)
        optimizer.step()
        value, gradient = evaluations.at(theta.detach())
        if np.isfinite(value):
            tell(Iteration(number, value, evaluations.last_norm))
            continue
        learning_rate /= 2.0
        theta = evaluations.best.clone().requires_grad_()
        optimizer = torch.optim.Adam([theta], lr=learning_rate, maximize=True)
        value, gradient = evaluations.at(theta.detach())
        tell(Iteration(number, value, evaluations.last_norm))
    return evaluations.found()


def require() -> Any:
    """``scipy.optimize``. MissingExtraError where SciPy is not installed."""
    try:
        from scipy import optimize
    except ImportError as error:
        raise MissingExtraError("scipy", "search") from error
    return optimize
