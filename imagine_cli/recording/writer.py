"""Writing a rollout file as the rollout goes."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_cli.errors import DiskError, ImagineError, InputError, Interrupted
from imagine_cli.interrupts import interrupts_held_back
from imagine_cli.recording.chunk_store import ChunkStore
from imagine_cli.recording.disk_room import check_room
from imagine_cli.recording.leftover import Leftover
from imagine_cli.recording.partial_file import PartialFile
from imagine_cli.recording.schema import MAX_SIZE, RolloutHeader, chunk_lengths

__all__ = ["RolloutWriter"]


class RolloutWriter:
    """A context manager that writes one rollout file, in blocks of trajectories and steps.

    The file appears at ``path`` when the block ends without an exception, with every number
    written; otherwise nothing appears and what was at ``path`` stays. B and T come from
    ``header``, D and F from its names. Numbers are copied, and written in another thread.

    Until then ``<path>.partial`` can be opened at any moment, whatever becomes of this process:
    a rollout file that is not ``complete``, with every chunk that was whole after one of the
    blocks handed over (where these are of whole chunks' trajectories, in the order of steps; other
    blocks may be torn by a kill, and are written more slowly). Chunks come in the order of the
    blocks, so that the bytes of a file follow from the header, the numbers and the blocks' sizes.

    Args:
        path: the file to write; its folder must exist.
        header: what the file says of itself.
        dtype: of the numbers in the file, ``"float64"`` or ``"float32"``.
        action_var, reward, reward_var: whether the file has these datasets.
        particles: P, or None for a file without particles.
        overwrite: whether a file at ``path`` may be replaced.
        keep: whether the partial file stays after an interrupt or a disk error, for a resumption.
        together: the most trajectories that a chunk spans.
        resume: take over the partial file that is there, where there is one: its ``created`` and
            ``command``; its numbers are :attr:`leftover`, for the caller to write again.

    Attributes:
        leftover: what is taken over, until it is all written again; None where nothing is.
        replaces: whether a partial file was there that is not taken over.

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
        keep: bool = False,
        resume: bool = False,
        together: int | None = None,
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
        rows, steps = chunk_lengths(header.trajectories, header.steps, row_bytes)
        self._chunk = (rows if together is None else min(rows, together), steps)
        self.leftover: Leftover | None = None
        self.replaces = False
        self._keep, self._resume = keep, resume
        self._partial = PartialFile(path, overwrite=overwrite)
        self._store: ChunkStore | None = None
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
        check_room(
            self._partial.target, self.header.trajectories, self.header.steps,
            self._sizes["observation"] * self.dtype.itemsize,
        )  # fmt: skip
        try:
            with interrupts_held_back():
                self._open()
        except BaseException:
            self._abandon(keep=False)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._abandon(keep=_may_go_on(error))
            return
        try:
            expected = self.header.trajectories * (self.header.steps + 1)
            if self._written != expected:
                raise ImagineError(
                    f"the rollout ended with {self._written} of {expected} beliefs written; "
                    f"{self._partial.target} was not made"
                )
            assert self._store is not None
            self._used_up()
            self._store.finish(self._partial.flush)
        except BaseException as failure:
            self._abandon(keep=_may_go_on(failure))
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
        assert self._store is not None
        self._store.commit()
        self._written += b * t

    def _write(
        self, blocks: dict[str, Any], first_trajectory: int, first_step: int, b: int, t: int
    ) -> None:
        if self._store is None:
            raise ValueError("the writer is not open; use it in a with statement")
        if first_trajectory < 0 or first_trajectory + b > self.header.trajectories:
            raise ValueError(
                f"trajectories {first_trajectory} to {first_trajectory + b - 1} are not among the "
                f"rollout's {self.header.trajectories}"
            )
        for name, block in blocks.items():
            if not self._wanted.get(name, True):
                if block is not None:
                    raise ValueError(f"{name} was not announced when the file was opened")
                continue
            if block is None:
                raise ValueError(f"{name} is missing from a block of steps")
            array = np.asarray(block)
            particles = (self._sizes["particle"],) if name.startswith("particles") else ()
            shape = (b, *particles, t, *self._store.shape(name)[2 + len(particles) :])
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, not {shape}")
            self._store.add(name, first_trajectory, first_step, array)

    def _open(self) -> None:
        descriptor = self._partial.claim()
        self.replaces = self._partial.leftover and not self._resume
        if self._resume and self._partial.leftover:
            self.leftover = Leftover(self._partial.path, self.header, self._used_up)
            self.header = self.leftover.header
        self._store = ChunkStore(
            descriptor, self._partial.target, self.header, self._sizes, self.dtype,
            self._chunk, self._wanted,
        )  # fmt: skip
        if self.leftover is None:
            self._partial.show()

    def _used_up(self) -> None:
        """Everything in the leftover was handed over: the new file takes its place."""
        if self.leftover is not None:
            self.leftover.close()
            self.leftover = None
            assert self._store is not None
            self._store.then(self._partial.show)

    def _abandon(self, *, keep: bool) -> None:
        """Close without publishing; ``keep`` is for a partial file worth going on from."""
        with interrupts_held_back():
            self._close(keep and self._keep)

    def _close(self, keep: bool) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.abandon(keep=keep)
        worth = self.leftover is not None or (store is not None and store.chunks_stored > 0)
        if self.leftover is not None:
            self.leftover.close()
        if keep and worth:
            self._partial.release()
        else:
            self._partial.discard()


def _may_go_on(error: BaseException) -> bool:
    """Whether what ended a rollout was not its own doing."""
    return not isinstance(error, Exception) or isinstance(error, DiskError | Interrupted)
