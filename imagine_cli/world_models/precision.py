"""Whether a world model that is conditioned on data survives a cast to fewer digits."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError

_POINTS = 256
# What part of a predicted standard deviation rounding may be.
_TOLERANCE = 0.1


def check_cast(model: Any, fn: Callable[[Tensor], Tensor]) -> None:
    """InputError where ``fn``, of its tensors, makes another model of one that keeps its inputs.

    Its predictions at these (or at inducing points), where it is most certain, may move by a tenth
    of their standard deviation.
    """
    buffers = dict(model._buffers)
    inputs = buffers.get("inputs", buffers.get("inducing_points"))
    if inputs is None or (cast := fn(inputs[:0])).element_size() >= inputs.element_size():
        return
    points = inputs.detach()[:: -(-len(inputs) // _POINTS)]
    x, u = points.split([model.observation_size, model.action_size], dim=-1)
    other = deepcopy(model)
    for name, buffer in buffers.items():
        other._buffers[name] = None if buffer is None else fn(buffer)
    with torch.no_grad():
        (mean, sd), (found, other_sd) = _marginals(model, x, u), _marginals(other, x, u)
    # A negative variance has no root.
    moved = torch.maximum((found - mean).abs(), (other_sd - sd).abs())
    if not (moved <= _TOLERANCE * sd).all():
        to, from_ = (str(each.dtype).removeprefix("torch.") for each in (cast, inputs))
        raise InputError(
            f"a world model of kind {model.kind!r} with points so close, or so little noise, can't "
            f"be cast to {to}: rounding would be more than {_TOLERANCE:g} of its predicted "
            f"deviations; leave it in {from_}, and set its attribute dtype for beliefs in {to}"
        )


def _marginals(model: Any, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of the next observation, float64."""
    at = model.conditional(x, u)
    var = at.var if at.is_diagonal else at.var.diagonal(dim1=-2, dim2=-1)
    return at.mean.double(), var.expand(at.mean.shape).double().sqrt()
