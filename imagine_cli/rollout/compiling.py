"""When compiled functions would spare minutes, and nobody asked for them."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

from imagine_cli.errors import Remark
from imagine_cli.unroll import ModelDynamics
from imagine_cli.world_models.gp.base import GPWorldModel

# Moment matching takes 1.9 to 4 ns for each pair of points and of dimensions, on one core of an AMD
# EPYC (Zen 5): python tests/benchmarks/scaling.py.
_SECONDS = 2e-9
_LONG = 60.0


def remark_on_compiling(dynamics: ModelDynamics, steps: float) -> None:
    """Say it where so many steps of one belief take over a minute that could be less than half."""
    model = dynamics.model
    if dynamics.propagation.name != "moments" or not isinstance(model, GPWorldModel):
        return
    if model.compiled_step() is not None:
        return
    beta = model.posterior.beta
    size, points = beta.shape
    if beta.device.type != "cpu" or steps * size * (size + 1) / 2 * points**2 * _SECONDS < _LONG:
        return
    first = "" if find_spec("numba") else " after pip install 'imagine-cli[compile]'"
    warnings.warn(
        f"this takes over a minute; --compile (compiled=True){first} takes a half to a quarter of "
        "it",
        Remark,
        stacklevel=2,
    )
