"""What has to hold wherever imagine is installed, in seconds: ``imagine doctor``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_A = np.array([[0.9, 0.2, 0.0], [-0.2, 0.9, 0.1], [0.0, 0.0, 0.8]])
_B = np.array([[0.1], [0.0], [0.3]])
_C = np.array([0.01, -0.02, 0.03])
_Q = np.diag([0.01, 0.02, 0.03])
_ACTION = 0.5
_STEPS = 20


class Check(NamedTuple):
    """What was tried, how long it took, and what was wrong (None if nothing)."""

    what: str
    seconds: float
    wrong: str | None


def self_test() -> Iterator[Check]:
    """Each check when it is through. Files come and go in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        for check in (_env_steps, _closed_form, _same_bits, *_devices()):
            begun = time.perf_counter()
            try:
                wrong = check(Path(folder))
            except Exception as error:  # whatever is broken here is what is asked for
                wrong = f"{type(error).__name__}: {error}"
            yield Check(str(check.__doc__).rstrip("."), time.perf_counter() - begun, wrong)


def _env_steps(folder: Path) -> str | None:
    """Pendulum-v1 takes a step."""
    from imagine_cli.environments import make_env

    env = make_env("Pendulum-v1")
    env.reset(seed=0)
    observation = env.step(np.zeros(1, np.float32))[0]
    env.close()
    return None if np.isfinite(observation).all() else f"it is at {observation}"


def _closed_form(folder: Path) -> str | None:
    """A linear model's beliefs, from the file, are those of their closed form."""
    mean, var = _rollout(folder / "one.h5")
    expected, covariance = mean[0], var[0]
    for _ in range(_STEPS):
        expected = _A @ expected + _B[:, 0] * _ACTION + _C
        covariance = _A @ covariance @ _A.T + _Q
    return _differ(mean[-1], expected) or _differ(var[-1], covariance)


def _same_bits(folder: Path) -> str | None:
    """A trajectory has the same bits alone and beside others."""
    alone, beside = _rollout(folder / "alone.h5"), _rollout(folder / "beside.h5", trajectories=3)
    same = all((a == b).all() for a, b in zip(alone, beside, strict=True))
    return None if same else "they differ"


def _devices() -> Iterator[Callable[[Path], str | None]]:
    import torch

    def on_cuda(folder: Path) -> str | None:
        """The same on the GPU, to rounding."""
        found, expected = _rollout(folder / "gpu.h5", device="cuda"), _rollout(folder / "cpu.h5")
        return _differ(found[0], expected[0]) or _differ(found[1], expected[1])

    if torch.cuda.is_available():
        yield on_cuda


def _rollout(path: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Means ``(T+1, 3)`` and covariances ``(T+1, 3, 3)`` of the first trajectory."""
    from imagine_cli.recording import open_rollout
    from imagine_cli.rollout.run import run_rollout
    from imagine_cli.world_models import LinearGaussianWorldModel

    model = LinearGaussianWorldModel.from_parameters(_A, _B, _C, _Q)
    given = {"steps": _STEPS, "policy": f"constant:{_ACTION}", "dtype": "float64", **options}
    run_rollout("Pendulum-v1", model, output=path, **given)
    with open_rollout(path) as rollout:
        return rollout.mean(0), rollout.var(0)


def _differ(found: np.ndarray, expected: np.ndarray) -> str | None:
    """By more than float64 loses in some steps."""
    error = float(np.abs(found - expected).max())
    return None if error < 1e-12 else f"they differ by {error:.1e}"
