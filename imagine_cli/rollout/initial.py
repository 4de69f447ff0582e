"""Initial beliefs: where imagined trajectories start, ``--start``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.environments import EnvDescription, real_resets
from imagine_cli.errors import InputError
from imagine_cli.files.unpacked import check_npz
from imagine_cli.policies.action_files import read_csv
from imagine_cli.seeds import Stream

# (first trajectory, how many) -> means (b, D) and covariances (b, D, D), float64.
Initial = Callable[[int, int], tuple[np.ndarray, np.ndarray]]

# Resets that `--start belief` fits its Gaussian to: a standard error of 1.6 % on a deviation.
_RESETS = 2048


def make_initial(
    spec: str, env: Any, description: EnvDescription, *, seed: int, count: int
) -> Initial:
    """What ``--start`` names, for ``count`` trajectories.

    ``reset``: each trajectory at its own reset of the real env, certain. ``belief``: all at the
    Gaussian fitted to 2048 resets, the same for every seed. ``mean=...`` or
    ``mean=...;var=...``: all at that belief, var being D variances or D·D numbers of a covariance,
    row by row. A file: ``.npy`` or ``.csv`` of observations ``(D,)`` or ``(B, D)``; ``.npz`` with
    ``mean`` and ``var``; or a rollout, whose last beliefs are the first ones here.

    Raises:
        InputError: no such start, or one of another size.
    """
    if spec == "reset":
        return _at_resets(env, seed)
    if spec == "belief":
        return _always(*_fit_to_resets(env))
    if spec.replace(" ", "").startswith("mean="):
        return _always(*_parse(spec, description))
    path = Path(spec)
    if not path.is_file():
        raise InputError(
            f"no start {spec!r}: use reset, belief, 'mean=...;var=...', or a .npy, .csv, .npz or "
            "rollout .h5 file"
        )
    return _from_file(path, description, count)


def _at_resets(env: Any, seed: int) -> Initial:
    def start(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        mean = real_resets(env, seed, first, count)
        return mean, np.zeros((*mean.shape, mean.shape[-1]))

    return start


def _always(mean: np.ndarray, var: np.ndarray) -> Initial:
    def start(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        return np.tile(mean, (count, 1)), np.tile(var, (count, 1, 1))

    return start


def _fit_to_resets(env: Any) -> tuple[np.ndarray, np.ndarray]:
    observations = real_resets(env, 0, 0, _RESETS, Stream.INITIAL_BELIEF)
    return observations.mean(axis=0), np.atleast_2d(np.cov(observations, rowvar=False))


def _parse(spec: str, description: EnvDescription) -> tuple[np.ndarray, np.ndarray]:
    size = description.observation_size
    parts: dict[str, np.ndarray] = {}
    for part in filter(None, (text.strip() for text in spec.split(";"))):
        name, _, numbers = part.partition("=")
        name = name.strip()
        if name not in ("mean", "var") or name in parts:
            raise InputError(f"--start {spec!r}: {name!r} is not one mean=... and one var=...")
        try:
            parts[name] = np.array([float(number) for number in numbers.split(",")])
        except ValueError as error:
            raise InputError(
                f"--start {spec!r}: {numbers!r} are not numbers with commas between them"
            ) from error
    var = parts.get("var", np.zeros(size))
    if var.shape == (size * size,) and size > 1:
        var = var.reshape(size, size)
    means, variances = _checked(parts["mean"][None], var[None], description, f"--start {spec!r}", 1)
    return means[0], variances[0]


def _from_file(path: Path, description: EnvDescription, count: int) -> Initial:
    where = f"--start {path}"
    kind = path.suffix.lower()
    var: np.ndarray | None = None
    there: int | None = None
    try:
        if kind == ".csv":
            mean = read_csv(path)
        elif kind == ".npy":
            mean = np.load(path, allow_pickle=False)
        elif kind == ".npz":
            check_npz(path)
            with np.load(path, allow_pickle=False) as arrays:
                if "mean" not in arrays:
                    raise InputError(f"{where} has no array named mean: {sorted(arrays)}")
                mean = arrays["mean"]
                var = arrays.get("var", None)
        elif kind in (".h5", ".hdf5"):
            mean, var, there = _last_beliefs(path, count)
        else:
            raise InputError(f"{where}: a start is a .npy, .csv, .npz or rollout .h5 file")
    except InputError:
        raise
    except Exception as error:  # numpy's readers raise many kinds
        raise InputError(f"{where} can't be read: {' '.join(str(error).split())}") from error
    mean = np.atleast_2d(_real(mean, "mean", where))
    var = np.zeros(mean.shape[-1]) if var is None else _real(var, "var", where)
    size = description.observation_size
    if len(mean) > 1 and mean.shape == var.shape == (size, size):
        raise InputError(
            f"{where} has a var of shape {var.shape}, which may be variances of each trajectory or "
            f"one covariance for all; give covariances, of shape {(size, size, size)}"
        )
    if var.shape in {(size,), (size, size)}:
        var = np.broadcast_to(var, (len(mean), *var.shape))
    means, variances = _checked(mean, var, description, where, count)
    there = there or len(means)
    if there > count:
        used = "first is" if count == 1 else f"first {count} are"
        warnings.warn(f"{where} has starts for {there} trajectories; the {used} used", stacklevel=2)
    if len(means) == 1:
        return _always(means[0], variances[0])
    return lambda first, b: (means[first : first + b], variances[first : first + b])


def _real(numbers: Any, name: str, where: str) -> np.ndarray:
    array = np.asarray(numbers)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{where}: its {name} holds {array.dtype}, not real numbers")
    return array


def _last_beliefs(path: Path, count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Up to ``count`` means and covariances, and how many there are."""
    from imagine_cli.recording import open_rollout

    with open_rollout(path) as rollout:
        rows = slice(0, min(count, rollout.trajectories))
        last = slice(rollout.steps, rollout.steps + 1)
        mean, var = rollout.mean(rows, last)[:, 0], rollout.var(rows, last)[:, 0]
        return mean, var, rollout.trajectories


def _checked(
    mean: np.ndarray, var: np.ndarray, description: EnvDescription, where: str, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Means ``(b, D)`` and covariances ``(b, D, D)``, float64, or an InputError.

    A covariance may be as far from one as rounding its own numbers can leave it.
    """
    import torch

    from imagine_cli.belief import nearest_covariance

    size = description.observation_size
    slack = np.finfo(var.dtype if var.dtype.kind == "f" else np.float64).eps ** 0.5
    mean, var = mean.astype(np.float64), var.astype(np.float64)
    if mean.ndim != 2 or mean.shape[1] != size:
        raise InputError(
            f"{where} has means of shape {mean.shape}, but an observation of {description.id} is "
            f"{size} numbers"
        )
    if len(mean) not in (1, count) and len(mean) < count:
        raise InputError(
            f"{where} has starts for {len(mean)} trajectories and {count} are needed; give one "
            "for all, or as many"
        )
    if var.shape == mean.shape:
        if (var < 0).any():
            raise InputError(f"{where}: a variance is negative")
        var = var[..., None] * np.eye(size)
    if var.shape != (len(mean), size, size):
        raise InputError(
            f"{where} has variances of shape {var.shape[1:]}; it must be {size} variances or a "
            f"covariance of {size} by {size} numbers"
        )
    if not (np.isfinite(mean).all() and np.isfinite(var).all()):
        raise InputError(f"{where}: not every number is finite")
    if not np.allclose(var, var.swapaxes(1, 2), rtol=slack, atol=0.0):
        raise InputError(f"{where}: a covariance is not symmetric")
    lowest = np.linalg.eigvalsh(var).min(axis=-1)
    if (lowest < -slack * np.abs(var).max(axis=(1, 2))).any():
        raise InputError(f"{where}: a covariance is not positive semi-definite")
    return mean, nearest_covariance(torch.from_numpy(var))[0].numpy()
