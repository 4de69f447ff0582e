"""The shards of a folder put together to one rollout file: its compressed chunks are copied."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imagine_cli.errors import DiskError, ImagineError, InputError
from imagine_cli.interrupts import interrupts_held_back
from imagine_cli.recording.fields import FIELDS, Field, axis_label
from imagine_cli.recording.manifest import MANIFEST, Manifest
from imagine_cli.recording.partial_folder import (
    MERGED,
    VIRTUAL,
    PartialFolder,
    disk_errors,
    put_whole,
)
from imagine_cli.recording.shard import FILTERS, LIBVER, Shard, ShardFile, open_shard, rows

_SLAB = 65536


def merge(folder: Path, *, trusted: Container[Shard] = ()) -> Path:
    """Write ``merged.h5`` in the folder of an unfinished rollout, from the shards there.

    Its bytes follow from the manifest and the numbers alone. It is on the disk when this returns.

    Args:
        folder: ``<target>.partial``.
        trusted: shards whose checksums needn't be looked at.

    Raises:
        ImagineError: shards are missing.
        DiskError: one is damaged, or the disk refuses.
        InputError: there is no manifest, or it is damaged.
    """
    manifest, merged = Manifest.read(folder), folder / MERGED
    target = folder.with_suffix("")
    missing, parts = _missing(folder, manifest)
    if missing:
        raise ImagineError(
            f"the rollout ended with {len(manifest.grid) - missing} of {len(manifest.grid)} shards "
            f"written; {target} was not made{parts}"
        )
    with disk_errors(target):
        merged.unlink(missing_ok=True)  # or it might be a link to something else
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(merged, flags)
    try:
        _fill(descriptor, folder, manifest, trusted)
        with disk_errors(target):
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            merged.unlink()
        raise
    finally:
        os.close(descriptor)
    return merged


def merge_parts(folder: Path, *, overwrite: bool = False) -> Path:
    """Make the file of a folder that parts of a rollout were written to; the folder goes.

    Raises:
        ImagineError: shards are missing, with the parts that they are of.
        DiskError: one is damaged, or the disk refuses.
        InputError: no such folder, someone writes to it, or the file is there already.
    """
    _manifest(folder)
    partial = PartialFolder(folder.with_suffix(""), overwrite=overwrite)
    partial.claim()
    try:
        merge(partial.path)
        partial.publish()
    finally:
        partial.release()
    return partial.target


def virtual(folder: Path) -> Path:
    """Write ``virtual.h5`` in the folder of a rollout: its shards as one HDF5 file, of no numbers.

    It shows what is there at each moment, NaN elsewhere, to h5py and xarray.

    Raises:
        DiskError: the disk refuses.
        InputError: no such folder.
    """
    manifest, memory = _manifest(folder), io.BytesIO()
    with h5py.File(memory, "w", libver=LIBVER) as file:
        _lay_out(file, manifest, _virtual)
        file.attrs["complete"] = _missing(folder, manifest)[0] == 0
    with disk_errors(folder / VIRTUAL):
        put_whole(folder / VIRTUAL, memory.getvalue())
    return folder / VIRTUAL


def _manifest(folder: Path) -> Manifest:
    if folder.suffix != ".partial" or not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} is no folder of a rollout, such as rollout.h5.partial")
    return Manifest.read(folder)


def _missing(folder: Path, manifest: Manifest) -> tuple[int, str]:
    """How many shards are, and the parts that they are of as the end of a sentence."""
    there, count, parts = {*os.listdir(folder)}, 0, set[int]()
    for number, row in enumerate(rows(manifest.grid)):
        missing = sum(shard.filename not in there for shard in row)
        count += missing
        if missing:
            parts.add(number % (manifest.parts or 1) + 1)
    if manifest.parts is None:
        return count, ""
    named = " ".join(f"{part}/{manifest.parts}" for part in sorted(parts))
    return count, f"; run again these parts: {named}"


def _fill(descriptor: int, folder: Path, manifest: Manifest, trusted: Container[Shard]) -> None:
    target, sink = folder.with_suffix(""), _Sink(descriptor)
    # HDF5 calls Python code, which mustn't get what a signal's handler raises.
    with interrupts_held_back():
        file = h5py.File(sink, "w", libver=LIBVER)
    try:
        with interrupts_held_back():
            datasets = _lay_out(file, manifest, _chunked)
        for shard in manifest.grid:
            with interrupts_held_back(), disk_errors(target):
                known = shard in trusted
                with open_shard(folder, shard, manifest.identity, trusted=known) as source:
                    _copy(source, datasets, manifest, shard)
                sink.check()
    except InputError as error:
        raise DiskError(f"{error}; go on with --resume, which makes it anew") from error
    finally:
        with interrupts_held_back(), contextlib.suppress(Exception):
            datasets = {}  # closed with the file
            file.close()
    with disk_errors(target):
        sink.check()


def _copy(source: ShardFile, datasets: dict[str, Any], manifest: Manifest, shard: Shard) -> None:
    for name, dataset in datasets.items():
        numbers, chunks = source.dataset(name), manifest.grid.chunks[name]
        origin = [part.start for part in manifest.grid.place(FIELDS[name], shard)]
        steps = (range(0, size, chunk) for size, chunk in zip(numbers.shape, chunks, strict=True))
        for offset in product(*steps):
            mask, packed = numbers.id.read_direct_chunk(offset)
            place = tuple(map(sum, zip(origin, offset, strict=True)))
            dataset.id.write_direct_chunk(place, packed, mask)


def _lay_out(file: Any, manifest: Manifest, create: Callable[..., Any]) -> dict[str, Any]:
    """Attributes, empty datasets, and a named scale for each of their axes, a group at a time."""
    file.attrs["complete"] = True
    for name, value in manifest.attributes.items():
        # HDF5 has integers of 64 bits: a larger one goes in as its decimal digits.
        huge = isinstance(value, int) and not -(2**63) <= value < 2**64
        file.attrs[name] = str(value) if huge else value
    datasets: dict[str, Any] = {}
    fields = [FIELDS[name] for name in manifest.fields]
    for parent in dict.fromkeys(field.group for field in fields):
        group = file.create_group(parent)
        inside = [field for field in fields if field.group == parent]
        scales: dict[str, Any] = {}
        for axis, after in {axis: field.after for field in inside for axis in field.axes}.items():
            scales[axis] = _scale(group, axis, after, manifest)
        for field in inside:
            dataset = create(group, field, manifest)
            datasets[field.name] = dataset
            for number, axis in enumerate(field.axes):
                dataset.dims[number].label = axis_label(axis)
                dataset.dims[number].attach_scale(scales[axis])
    file["observation"].attrs["low"], file["observation"].attrs["high"] = manifest.bounds()
    return datasets


def _chunked(group: Any, field: Field, manifest: Manifest) -> Any:
    return group.create_dataset(
        field.name.rpartition("/")[2],
        shape=field.shape(manifest.sizes),
        dtype=manifest.dtype,
        chunks=manifest.grid.chunks[field.name],
        fillvalue=np.nan,
        **FILTERS,
    )


def _virtual(group: Any, field: Field, manifest: Manifest) -> Any:
    layout = h5py.VirtualLayout(field.shape(manifest.sizes), manifest.dtype)
    for shard in (grid := manifest.grid):
        source = h5py.VirtualSource(shard.filename, field.name, grid.shape(field, shard))
        layout[grid.place(field, shard)] = source
    return group.create_virtual_dataset(field.name.rpartition("/")[2], layout, fillvalue=np.nan)


def _scale(group: Any, axis: str, after: int, manifest: Manifest) -> Any:
    label = axis_label(axis)
    if label in ("observation", "action"):
        names: Sequence[str] = getattr(manifest, f"{label}_names")
        strings = np.array(list(names), dtype=object)
        scale = group.create_dataset(axis, data=strings, dtype=h5py.string_dtype())
    else:
        size = manifest.sizes[label] + (after if label == "step" else 0)
        packing = {"chunks": (_SLAB,), "compression": "gzip", "shuffle": True}
        scale = group.create_dataset(
            axis, (size,), dtype=np.int64, **(packing if size > _SLAB else {})
        )
        for first in range(0, size, _SLAB):
            scale[first : first + _SLAB] = np.arange(first, min(first + _SLAB, size))
    scale.make_scale(axis)
    return scale


class _Sink:
    """An open file as h5py's ``fileobj`` driver wants it, whose writes never fail.

    HDF5 ends the process with a segmentation fault where it can't flush a file that it has to
    close. So the first error is kept for :meth:`check`, and what would be written after it is
    held in memory, which is little where HDF5 is left soon.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "r+b", buffering=0, closefd=False)
        self._error: OSError | None = None
        self._held: list[tuple[int, bytes]] = []
        self._at = 0

    def check(self) -> None:
        """Raises the first OSError that there was."""
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}
        self._at = offset + (base[whence] if whence in base else self._size())
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        """By which h5py tells a file from a path."""
        data = bytearray(size)
        self.readinto(memoryview(data))
        return bytes(data)

    def readinto(self, buffer: memoryview) -> int:
        view, start = memoryview(buffer).cast("B"), self._at
        with self._kept():
            self._file.seek(start)
            done = 0
            while done < len(view) and (count := self._file.readinto(view[done:])):
                done += count
            view[done:] = bytes(len(view) - done)
        for place, data in self._held:
            first, last = max(start, place), min(start + len(view), place + len(data))
            if first < last:
                view[first - start : last - start] = data[first - place : last - place]
        self._at += len(view)
        return len(view)

    def write(self, data: memoryview) -> int:
        view, done = memoryview(data).cast("B"), 0
        if self._error is None:
            with self._kept():
                self._file.seek(self._at)
                while done < len(view):
                    done += self._file.write(view[done:]) or 0
        if done < len(view):
            self._held.append((self._at + done, bytes(view[done:])))
        self._at += len(view)
        return len(view)

    def truncate(self, size: int) -> int:
        if self._error is None:
            with self._kept():
                self._file.truncate(size)
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""

    def _size(self) -> int:
        ends = [place + len(data) for place, data in self._held]
        return max(os.fstat(self._file.fileno()).st_size, *ends, 0)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._error = self._error or error
