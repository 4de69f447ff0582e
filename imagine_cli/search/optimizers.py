"""L-BFGS and Adam, going up a function of a policy that may fail anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, vector_to_parameters

from imagine_cli.errors import ImagineError, InputError, MissingExtraError
from imagine_cli.rollout.nonfinite import CANT_GO_ON
from imagine_cli.search.evaluations import EvaluationLog
from imagine_cli.search.lockstep import in_lockstep

METHODS = ("lbfgs", "adam")

Objective = Callable[[Any, dict[str, Tensor]], Tensor]


class Iteration(NamedTuple):
    """How a search stands: its number, from 0, which is where it begins; J and ``|dJ/dθ|``."""

    number: int
    value: float
    gradient_norm: float


Tell = Callable[[Iteration], None]
Ask = Callable[[Tensor], "Value"]


class Found(NamedTuple):
    """The largest J of all evaluations, and how many there were. The policy has its θ."""

    value: float
    evaluations: int


class _Parameters:
    """θ of policies of one kind, as vectors and by name."""

    def __init__(self, policies: Sequence[torch.nn.Module]) -> None:
        self.policies = policies
        self.shapes = {name: p.shape for name, p in policies[0].named_parameters()}

    def vectors(self) -> list[Tensor]:
        return [
            torch.cat([p.detach().flatten() for p in one.parameters()]) for one in self.policies
        ]

    def by_name(self, vectors: Tensor) -> dict[str, Tensor]:
        """``(R, K)`` as R parameters ``(R, ...)``."""
        parts = torch.split(vectors, [shape.numel() for shape in self.shapes.values()], dim=-1)
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.view(-1, *shape) for (name, shape), part in named}


class Value(NamedTuple):
    """J and dJ/dθ; J is NaN where imagination fails, for a reason, or either is not finite."""

    number: float
    gradient: Tensor
    failure: str = "it is not finite"

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.number))


def _evaluate(
    objective: Objective, policy: Any, theta: _Parameters, vectors: Tensor
) -> list[Value]:
    """Of each row of ``(R, K)``: in one batch, and one by one where that fails."""
    vectors = vectors.detach().requires_grad_()
    try:
        values = objective(policy, theta.by_name(vectors))
        if not values.requires_grad:
            raise InputError(
                "the world model's predictions have no derivatives by the action, which a "
                "search by gradients needs"
            )
        (gradients,) = torch.autograd.grad(values.sum(), [vectors])
    except InputError:
        raise
    except CANT_GO_ON as error:
        if len(vectors) > 1:
            return [_evaluate(objective, policy, theta, one.unsqueeze(0))[0] for one in vectors]
        return [Value(float("nan"), torch.zeros_like(vectors[0]), str(error).splitlines()[0])]
    finite = torch.isfinite(values) & torch.isfinite(gradients).all(-1)
    numbers = torch.where(finite, values.detach(), torch.nan).tolist()
    return [Value(number, row) for number, row in zip(numbers, gradients, strict=True)]


class _Climb:
    """One search: what it asks for, the best of it, and what it tells."""

    def __init__(self, initial: Tensor, ask: Ask, tell: Tell) -> None:
        self.initial, self._ask, self._tell = initial, ask, tell
        self.best, self.best_value = initial, -float("inf")
        self.count, self.last_norm = 0, 0.0
        self.first = self.at(initial)
        if not self.first.is_finite:
            raise ImagineError(
                "the imagined return of the policy that the search begins with failed: "
                f"{self.first.failure}; a shorter --horizon or another --policy may do"
            )
        self.tell(0, self.first.number)

    def at(self, vector: Tensor) -> Value:
        self.count += 1
        value = self._ask(vector)
        if value.is_finite:
            self.last_norm = float(value.gradient.norm())
            if value.number > self.best_value:
                self.best_value, self.best = value.number, vector.clone()
        return value

    def tell(self, iteration: int, value: float) -> None:
        self._tell(Iteration(iteration, value, self.last_norm))


def climb(
    method: str,
    objective: Objective,
    policies: Sequence[torch.nn.Module],
    *,
    iterations: int,
    tell: Callable[[int, Iteration], None],
    learning_rate: float = 0.01,
    log: EvaluationLog | None = None,
) -> list[Found | ImagineError]:
    """A search by :func:`lbfgs` or :func:`adam` from each policy, all values asked for in batches.

    Args:
        method: of :data:`METHODS`.
        objective: J of parameters ``(R, ...)`` by name, in the place of a policy's own: ``(R,)``.
        policies: of one kind and size; their parameters are the best ones in the end.
        iterations: of each search.
        tell: called with each iteration and the number of its policy.
        learning_rate: of Adam.
        log: keeps what was evaluated, and knows what was before.

    Returns:
        What was found, or why that search could not begin.
    """
    if method == "lbfgs":
        require()
    theta = _Parameters(policies)
    initial = theta.vectors()

    def search(k: int, ask: Ask, tell: Tell) -> Found | ImagineError:
        try:
            climb = _Climb(initial[k], ask, tell)
        except InputError:
            raise
        except ImagineError as error:
            return error
        if method == "lbfgs":
            lbfgs(climb, iterations)
        else:
            adam(climb, iterations, learning_rate)
        vector_to_parameters(climb.best, policies[k].parameters())
        return Found(climb.best_value, climb.count)

    def evaluate(vectors: Tensor) -> list[Value]:
        return _evaluate(objective, policies[0], theta, vectors)

    def answer(asked: list[Tensor]) -> list[Value]:
        vectors = torch.stack(asked)
        if log is None:
            return evaluate(vectors)
        return [Value(*row) for row in log.answer(vectors, evaluate)]

    return in_lockstep(search, len(policies), answer, tell)


def lbfgs(climb: _Climb, iterations: int) -> None:
    """Up to ``iterations`` of L-BFGS-B (Byrd et al. 1995), as SciPy has it.

    It ends earlier where nothing is gained any more. Where imagination fails inside a line
    search, J counts as somewhat worse than all it has seen, so that the step is cut short.
    """
    first = climb.first
    scale = 1.0 / abs(first.number) if first.number else 1.0
    cached, seen, done = [first], [-scale * first.number], 0

    def descent(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        value = cached.pop() if cached else climb.at(torch.from_numpy(numbers).to(climb.initial))
        if not value.is_finite:
            return max(seen) + (max(seen) - min(seen)) + 1.0, np.zeros_like(numbers)
        seen.append(-scale * value.number)
        return seen[-1], -scale * value.gradient.double().cpu().numpy()

    def after(intermediate_result: Any) -> None:
        nonlocal done
        done += 1
        climb.tell(done, -float(intermediate_result.fun) / scale)

    require().minimize(
        descent,
        climb.initial.double().cpu().numpy(),
        jac=True,
        method="L-BFGS-B",
        callback=after,
        options={"maxiter": iterations, "maxfun": 25 * iterations, "maxcor": 20,
                 "ftol": 1e-10, "gtol": 1e-9},
    )  # fmt: skip


def adam(climb: _Climb, iterations: int, learning_rate: float) -> None:
    """``iterations`` steps of Adam (Kingma & Ba 2015), the gradient's norm clipped to one.

    Where imagination fails it goes back to the best parameters, and on with half the rate.
    """
    theta = climb.initial.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=learning_rate, maximize=True)
    value = climb.first
    for number in range(1, iterations + 1):
        theta.grad = value.gradient
        clip_grad_norm_([theta], 1.0)
        optimizer.step()
        value = climb.at(theta.detach())
        if not value.is_finite:
            learning_rate /= 2.0
            theta = climb.best.clone().requires_grad_()
            optimizer = torch.optim.Adam([theta], lr=learning_rate, maximize=True)
            value = climb.at(theta.detach())
        climb.tell(number, value.number)


def require() -> Any:
    """``scipy.optimize``. MissingExtraError where SciPy is not installed."""
    try:
        from scipy import optimize
    except ImportError as error:
        raise MissingExtraError("scipy", "search") from error
    return optimize
