"""The shards of a rollout in its folder: looked for, read, written, by whoever imagines them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imagine_cli.errors import DiskError, InputError
from imagine_cli.recording.fields import FIELDS
from imagine_cli.recording.manifest import Manifest
from imagine_cli.recording.partial_folder import disk_errors, put_whole
from imagine_cli.recording.shard import (
    DIGEST_SIZE,
    Shard,
    ShardFile,
    encode,
    open_shard,
    read_digest,
)


class ShardStore:
    """Shards as files of a folder that others may write to as well, each its own shards.

    Attributes:
        folder: ``<target>.partial``.
        manifest: what the folder's rollout is.
        digests: the SHA-256 of every shard that is known to be whole.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, some: Sequence[Shard] | None = None
    ) -> None:
        self.folder, self.manifest, self._some = folder, manifest, some
        self.digests: dict[Shard, bytes] = {}

    @property
    def shards(self) -> Sequence[Shard]:
        """In order, trajectories outer, steps inner: ``some`` of them, or all."""
        return self.manifest.grid if self._some is None else self._some

    def has(self, shard: Shard) -> bool:
        """Whether it is on the disk already, whole."""
        if shard not in self.digests:
            with suppress(FileNotFoundError, InputError), self._opened(shard):
                self.digests[shard] = read_digest(self.folder / shard.filename)
        return shard in self.digests

    def state(self, shard: Shard) -> dict[str, np.ndarray]:
        """What was given with a shard that is there: the state at its end."""
        with self._opened(shard) as file:
            return file.state()

    def read(self, shard: Shard, field: str) -> np.ndarray:
        """The numbers of a dataset in a shard that is there."""
        with self._opened(shard) as file:
            return file.read(field)

    def write(
        self,
        shard: Shard,
        numbers: Mapping[str, npt.ArrayLike],
        state: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        """Write a shard.

        Args:
            shard: one of :attr:`shards`.
            numbers: of every field: the actions and rewards of the shard's steps, the beliefs
                that they were taken at, and in the last shard of a trajectory the belief at T.
            state: named arrays of any plain dtype that the rollout goes on from after it.

        Raises:
            DiskError: it could not be written.
            ValueError: fields are missing or unknown, or have other shapes.
        """
        self._store(shard, *self._copied(shard, numbers, state))

    def adopt(self, shard: Shard, digest: bytes) -> None:
        """Know a shard that a worker, on this machine or another, wrote or found whole.

        Raises DiskError where that file is not to be seen here.
        """
        path = self.folder / shard.filename
        with disk_errors(path):
            found = read_digest(path)
        if found != digest:
            raise DiskError(f"{path} is not what its worker wrote; do all workers share its disk?")
        self.digests[shard] = digest

    def _copied(
        self,
        shard: Shard,
        numbers: Mapping[str, npt.ArrayLike],
        state: Mapping[str, npt.ArrayLike] | None,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Both as arrays of what the file has. Raises ValueError."""
        grid, fields = self.manifest.grid, self.manifest.fields
        arrays = dict[str, np.ndarray]()
        for name in {**dict.fromkeys(fields), **dict.fromkeys(numbers)}:
            if name not in fields:
                raise ValueError(f"{name} was not announced when the file was opened")
            if name not in numbers:
                raise ValueError(f"{name} is missing from a shard")
            arrays[name] = np.array(numbers[name], dtype=self.manifest.dtype)
            shape = grid.shape(FIELDS[name], shard)
            if arrays[name].shape != shape:
                raise ValueError(f"{name} has shape {arrays[name].shape}, not {shape}")
        states = {name: np.array(values) for name, values in (state or {}).items()}
        for name, values in states.items():
            if values.dtype.kind not in "fiub":
                raise ValueError(f"the state {name} is of type {values.dtype}, not plain numbers")
        return arrays, states

    def _store(
        self, shard: Shard, numbers: dict[str, np.ndarray], state: dict[str, np.ndarray]
    ) -> None:
        """HDF5 sees memory alone here, so that no disk can fail it."""
        data = encode(self.manifest.grid, shard, numbers, state, self.manifest.identity)
        with disk_errors(self.folder.with_suffix("")):
            put_whole(self.folder / shard.filename, data)
        self.digests[shard] = data[-DIGEST_SIZE:]

    def _opened(self, shard: Shard) -> AbstractContextManager[ShardFile]:
        known = shard in self.digests
        return open_shard(self.folder, shard, self.manifest.identity, trusted=known)
