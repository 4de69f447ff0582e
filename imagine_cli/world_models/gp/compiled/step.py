"""The moment-matching step compiled: for beliefs in float64 on the CPU."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from imagine_cli.world_models.gp.compiled.layout import Array, Layout
from imagine_cli.world_models.gp.compiled.moment_matching import backward, forward, prepare
from imagine_cli.world_models.gp.moment_matching import Moments, moment_step
from imagine_cli.world_models.gp.moment_terms import Constants, no_covariance


class CompiledStep:
    """The :func:`~imagine_cli.world_models.gp.moment_matching.moment_step` of copied GPs.

    The same to rounding, in a fraction of the time where torch's own overhead or its exponentials
    take most of it. Differentiable, twice too: the second derivative is torch's.
    """

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.layout = Layout.of(constants)

    def prepare(self) -> None:
        """Do at once what takes seconds the first time on a machine."""
        prepare(self.layout)

    def __reduce__(self) -> tuple[type[CompiledStep], tuple[Constants]]:
        return CompiledStep, (self.constants,)

    def __call__(self, noise: Tensor, mean: Tensor, var: Tensor) -> Moments:
        """The next belief, as :func:`moment_step` gives it. Raises ImagineError."""
        if any(forward_ad.unpack_dual(x).tangent is not None for x in (mean, var)):  # type: ignore[no-untyped-call]
            return moment_step(self.constants, noise, mean, var)
        if torch.is_grad_enabled() and (mean.requires_grad or var.requires_grad):
            found: Moments = _Step.apply(mean, var, noise, self)  # type: ignore[no-untyped-call]
            return found
        return self.forward(noise, mean, var)

    def forward(self, noise: Tensor, mean: Tensor, var: Tensor) -> Moments:
        """Without a graph."""
        *found, failed = forward(self.layout, _array(mean), _array(var), _array(noise))
        if failed.any():
            raise no_covariance(int(failed.argmax()))
        next_mean, next_var, cross = map(torch.from_numpy, found)
        return next_mean, next_var, cross

    def backward(self, mean: Tensor, var: Tensor, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """From the derivatives by what comes out to those by ``mean`` and ``var``."""
        by_mean, by_var = backward(self.layout, *(_array(x) for x in (mean, var, *grads)))
        return torch.from_numpy(by_mean), torch.from_numpy(by_var)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, var: Tensor, noise: Tensor, step: CompiledStep) -> Moments:
        ctx.save_for_backward(mean, var)
        ctx.noise, ctx.step = noise, step
        return step.forward(noise, mean, var)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        mean, var = ctx.saved_tensors
        if not torch.is_grad_enabled() and all(type(grad) is Tensor for grad in grads):
            with suppress(RuntimeError):  # several derivatives at once, which only torch can do
                return *ctx.step.backward(mean, var, *grads), None, None
        inputs = [x for x in (mean, var) if x.requires_grad]
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            found = moment_step(ctx.step.constants, ctx.noise, mean, var)
        gradients = iter(torch.autograd.grad(found, inputs, grads, create_graph=again))
        return *(next(gradients) if x.requires_grad else None for x in (mean, var)), None, None


def _array(values: Tensor) -> Array:
    array: Array = values.detach().contiguous().numpy()
    return array
