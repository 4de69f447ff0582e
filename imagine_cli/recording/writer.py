"""Writing a rollout file as the rollout goes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from imagine_cli.errors import ImagineError, InputError
from imagine_cli.recording.groups import NewFile
from imagine_cli.recording.partial_file import PartialFile
from imagine_cli.recording.schema import MAX_SIZE, RolloutHeader, chunk_lengths
from imagine_cli.recording.steady_file import SteadyFile, interrupts_held_back

__all__ = ["RolloutWriter"]


class RolloutWriter:
    """A context manager that writes one rollout file, in blocks of trajectories and steps.

    The file appears at ``path`` when the block ends without an exception, with every number
    written; otherwise nothing appears and what was at ``path`` stays. B and T come from
    ``header``, D and F from its names.

    Args:
        path: the file to write; its folder must exist.
        header: what the file says of itself.
        dtype: of the numbers in the file, ``"float64"`` or ``"float32"``.
        action_var, reward, reward_var: whether the file has these datasets.
        particles: P, or None for a file without particles.
        overwrite: whether a file at ``path`` may be replaced.

    Raises:
        InputError: on entry where ``path`` can't be or mustn't be written.
        ImagineError: where the disk fails, or at the end where numbers are missing.
        ValueError: arrays whose shapes don't fit, or outside the file's trajectories and steps.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: RolloutHeader,
        *,
        dtype: str = "float64",
        action_var: bool = False,
        reward: bool = False,
        reward_var: bool = False,
        particles: int | None = None,
        overwrite: bool = False,
    ) -> None:
        self.header = header
        self.dtype = np.dtype(dtype)
        self._sizes = {
            "trajectory": header.trajectories,
            "step": header.steps,
            "observation": len(header.observation_names),
            "action": len(header.action_names),
            "particle": 1 if particles is None else particles,
        }
        for axis, size in self._sizes.items():
            if size < 1:
                raise InputError(f"a rollout file needs at least one {axis}, not {size}")
        if max(self._sizes["observation"], self._sizes["action"]) > MAX_SIZE:
            raise InputError(
                f"a rollout file holds full covariances of at most {MAX_SIZE} dimensions, not "
                f"{self._sizes['observation']} observations and {self._sizes['action']} actions"
            )
        if reward_var and not reward:
            raise ValueError("reward_var needs reward")
        self._wanted = {
            "action/var": action_var,
            "reward/mean": reward,
            "reward/var": reward_var,
            "particles/observation": particles is not None,
        }
        row_bytes = self._sizes["observation"] ** 2 * self.dtype.itemsize
        self._chunk = chunk_lengths(header.trajectories, header.steps, row_bytes)
        self._partial = PartialFile(path, overwrite=overwrite)
        self._disk: SteadyFile | None = None
        self._file: Any = None
        # Kept open: closing a dataset empties its chunk cache.
        self._datasets: dict[str, Any] = {}
        self._written = 0

    @property
    def time_chunk(self) -> int:
        """How many steps a chunk of covariances spans: blocks of so many steps write fastest."""
        return self._chunk[1]

    @property
    def trajectory_chunk(self) -> int:
        """How many trajectories a chunk of covariances spans."""
        return self._chunk[0]

    def __enter__(self) -> RolloutWriter:
        attributes, bounds = self.header.attributes(), self.header.bounds()
        self._disk = SteadyFile(self._partial.claim())
        try:
            with self._disk_errors():
                # HDF5 1.10's file format has checksums in its own structures too.
                self._file = h5py.File(self._disk, "w", libver=("v110", "v110"))
                self._file.attrs["complete"] = False
                for name, value in attributes.items():
                    self._file.attrs[name] = _storable(value)
                new = NewFile(self._file, self.header, self._sizes, self.dtype, self._chunk)
                new.lay_out(self._wanted)
                self._datasets = new.datasets
                self._file["observation"].attrs["low"] = bounds[0]
                self._file["observation"].attrs["high"] = bounds[1]
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._abandon()
            return
        try:
            expected = self.header.trajectories * (self.header.steps + 1)
            if self._written != expected:
                raise ImagineError(
                    f"the rollout ended with {self._written} of {expected} beliefs written; "
                    f"{self._partial.target} was not made"
                )
            with self._disk_errors():
                self._file.attrs["complete"] = True
                self._close()
        except BaseException:
            self._abandon()
            raise
        self._partial.publish()

    def write_start(
        self,
        first_trajectory: int,
        mean: npt.ArrayLike,
        var: npt.ArrayLike,
        particles: npt.ArrayLike | None = None,
    ) -> None:
        """Step 0 of ``b`` trajectories: ``(b, D)``, ``(b, D, D)``, particles ``(b, P, D)``."""
        mean, var = np.asarray(mean), np.asarray(var)
        blocks: dict[str, npt.ArrayLike | None] = {
            "observation/mean": mean[:, None],
            "observation/var": var[:, None],
            "particles/observation": None
            if particles is None
            else np.asarray(particles)[:, :, None],
        }
        self._write(blocks, first_trajectory, 0, len(mean), 1)
        self._written += len(mean)

    def write(
        self,
        first_trajectory: int,
        first_step: int,
        *,
        observation_mean: npt.ArrayLike,
        observation_var: npt.ArrayLike,
        action_mean: npt.ArrayLike,
        action_var: npt.ArrayLike | None = None,
        reward_mean: npt.ArrayLike | None = None,
        reward_var: npt.ArrayLike | None = None,
        particles: npt.ArrayLike | None = None,
    ) -> None:
        """``t`` steps of ``b`` trajectories, the first one being step number ``first_step``.

        The actions ``(b, t, F)``, ``(b, t, F, F)`` and rewards ``(b, t)`` are those of steps
        ``first_step`` to ``first_step + t - 1``; the observations ``(b, t, D)``, ``(b, t, D, D)``
        and particles ``(b, P, t, D)`` are what they lead to, one step later each.
        """
        mean = np.asarray(observation_mean)
        b, t = mean.shape[:2]
        observations = {
            "observation/mean": mean,
            "observation/var": observation_var,
            "particles/observation": particles,
        }
        actions = {
            "action/mean": action_mean,
            "action/var": action_var,
            "reward/mean": reward_mean,
            "reward/var": reward_var,
        }
        if first_step < 0 or first_step + t > self.header.steps:
            raise ValueError(
                f"steps {first_step} to {first_step + t - 1} are not among the rollout's "
                f"{self.header.steps}"
            )
        self._write(observations, first_trajectory, first_step + 1, b, t)
        self._write(actions, first_trajectory, first_step, b, t)
        self._written += b * t

    def _write(
        self, blocks: dict[str, Any], first_trajectory: int, first_step: int, b: int, t: int
    ) -> None:
        if self._file is None:
            raise ValueError("the writer is not open; use it in a with statement")
        if first_trajectory < 0 or first_trajectory + b > self.header.trajectories:
            raise ValueError(
                f"trajectories {first_trajectory} to {first_trajectory + b - 1} are not among the "
                f"rollout's {self.header.trajectories}"
            )
        rows = slice(first_trajectory, first_trajectory + b)
        steps = slice(first_step, first_step + t)
        for name, block in blocks.items():
            if not self._wanted.get(name, True):
                if block is not None:
                    raise ValueError(f"{name} was not announced when the file was opened")
                continue
            if block is None:
                raise ValueError(f"{name} is missing from a block of steps")
            dataset = self._datasets[name]
            array = np.asarray(block)
            place = (rows, slice(None), steps) if name.startswith("particles") else (rows, steps)
            span = [b, self._sizes["particle"], t] if len(place) == 3 else [b, t]
            shape = (*span, *dataset.shape[len(place) :])
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, not {shape}")
            with self._disk_errors():
                dataset[place] = array

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Around every use of HDF5: what the disk said becomes one ImagineError."""
        failure: BaseException | None = None
        with interrupts_held_back():
            try:
                yield
            except (OSError, RuntimeError) as error:
                failure = error
        failure = (self._disk.error if self._disk is not None else None) or failure
        if failure is not None:
            number = getattr(failure, "errno", None)
            reason = os.strerror(number) if number else " ".join(str(failure).split())
            raise ImagineError(
                f"{self._partial.target} could not be written: {reason}"
            ) from failure

    def _close(self) -> None:
        self._datasets.clear()
        self._file.close()

    def _abandon(self) -> None:
        if self._file is not None:
            with interrupts_held_back(), contextlib.suppress(Exception):
                self._close()
        self._partial.discard()


def _storable(value: str | int | float | bool) -> Any:
    """As HDF5 has it: an integer beyond 64 bits goes in as its decimal digits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value
