"""The groups of a new rollout file: datasets, and a named scale for each of their axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from imagine_cli.recording.chunk_codec import LEVEL
from imagine_cli.recording.schema import RolloutHeader, chunk_lengths

__all__ = ["NewFile"]

_SLAB = 65536
_LEAST_CHUNK_BYTES = 64 * 1024


class NewFile:
    """Lays out one file.

    Args:
        file: the open h5py.File.
        header: which names the observations and actions.
        sizes: of the axes trajectory, step (T), observation, action and particle.
        dtype: of the numbers.
        chunk: how many trajectories and steps a chunk of covariances spans.

    Attributes:
        datasets: those made so far, by their names in the file.
    """

    def __init__(
        self,
        file: Any,
        header: RolloutHeader,
        sizes: dict[str, int],
        dtype: np.dtype[Any],
        chunk: tuple[int, int],
    ) -> None:
        self.datasets: dict[str, Any] = {}
        self._file, self._header, self._sizes = file, header, sizes
        self._dtype, self._chunk = dtype, chunk

    def lay_out(self, wanted: dict[str, bool]) -> None:
        """Make every group; ``wanted`` says which of the optional datasets there are."""
        belief = ("trajectory", "step", "observation", "observation_other")
        action = ("trajectory", "step", "action", "action_other")
        particles = ("trajectory", "particle", "step", "observation_name")
        self._group("observation", {"mean": belief[:3], "var": belief}, steps=1)
        actions = {"mean": action[:3], "var": action}
        self._group("action", actions if wanted["action/var"] else {"mean": action[:3]})
        rewards = [name for name in ("mean", "var") if wanted[f"reward/{name}"]]
        self._group("reward", dict.fromkeys(rewards, action[:2]))
        if wanted["particles/observation"]:
            self._group("particles", {"observation": particles}, steps=1)

    def _group(self, name: str, datasets: dict[str, tuple[str, ...]], *, steps: int = 0) -> None:
        """One group; ``steps`` is how many entries its time axis has beside T."""
        if not datasets:
            return
        group = self._file.create_group(name)
        scales = {
            axis: self._scale(group, axis, steps)
            for axis in dict.fromkeys(axis for axes in datasets.values() for axis in axes)
        }
        for child, axes in datasets.items():
            shape = tuple(len(scales[axis]) for axis in axes)
            dataset = group.create_dataset(
                child,
                shape,
                dtype=self._dtype,
                chunks=self._chunk_shape(axes, shape),
                fillvalue=np.nan,
                compression="gzip",
                compression_opts=LEVEL,
                shuffle=True,
                fletcher32=True,
            )
            self.datasets[f"{name}/{child}"] = dataset
            for number, axis in enumerate(axes):
                dataset.dims[number].label = _label(axis)
                dataset.dims[number].attach_scale(scales[axis])

    def _scale(self, group: Any, axis: str, steps: int) -> Any:
        label = _label(axis)
        if label in ("observation", "action"):
            names: Sequence[str] = getattr(self._header, f"{label}_names")
            scale = group.create_dataset(
                axis, data=np.array(list(names), dtype=object), dtype=h5py.string_dtype()
            )
        else:
            size = self._sizes[label] + (steps if label == "step" else 0)
            packing: dict[str, Any] = {}
            if size > _SLAB:
                packing = {"chunks": (_SLAB,), "compression": "gzip", "shuffle": True}
            scale = group.create_dataset(axis, (size,), dtype=np.int64, **packing)
            for first in range(0, size, _SLAB):
                last = min(first + _SLAB, size)
                scale[first:last] = np.arange(first, last)
        scale.make_scale(axis)
        return scale

    def _chunk_shape(self, axes: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """Whole along every axis but trajectory, step and particle."""
        b, t = self._chunk
        spans = dict(zip(axes, shape, strict=True))
        t = spans["step"] if t >= self._header.steps else t
        if "particle" in spans:
            row_bytes = spans["observation_name"] * self._dtype.itemsize
            p, t = chunk_lengths(spans["particle"], t, row_bytes)
            spans.update(trajectory=1, particle=p, step=t)
        else:
            row_bytes = int(np.prod(shape[2:])) * self._dtype.itemsize
            repeats = max(1, _LEAST_CHUNK_BYTES // (b * t * row_bytes))
            spans.update(trajectory=b, step=min(spans["step"], t * repeats))
        return tuple(spans[axis] for axis in axes)


def _label(axis: str) -> str:
    return axis.removesuffix("_other").removesuffix("_name")
