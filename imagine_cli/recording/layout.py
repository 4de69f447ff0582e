"""The datasets of a rollout file by anyone, checked against the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from imagine_cli.errors import InputError
from imagine_cli.recording import safe_hdf5
from imagine_cli.recording.fields import FIELDS, LETTERS, REQUIRED_FIELDS, Field, axis_label
from imagine_cli.recording.schema import FORMAT, FORMAT_VERSION, MAX_SIZE


def check_format(attributes: dict[str, Any], path: Path) -> int:
    """The format's version; InputError where the file is something else or from the future."""
    if attributes.get("format") != FORMAT:
        found = attributes.get("format")
        says = f"is {found!r}, not {FORMAT!r}" if found else "is missing or can't be read"
        raise InputError(f"{path} is an HDF5 file but not a rollout: its attribute 'format' {says}")
    version = attributes.get("format_version", FORMAT_VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise InputError(f"{path}: format_version is {version!r}, not a positive whole number")
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path} has version {version} of the rollout format and this imagine reads up to "
            f"{FORMAT_VERSION}; update imagine"
        )
    return version


def read_layout(file: Any, path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The datasets there are, by name, and the sizes of axes by their labels; ``step`` is T.

    Raises InputError where one is missing, or their shapes disagree.
    """
    datasets: dict[str, Any] = {}
    parents = dict.fromkeys(field.group for field in FIELDS.values())
    groups = {parent: safe_hdf5.child_group(file, parent, path) for parent in parents}
    for name, field in FIELDS.items():
        group, child = groups[field.group], name.removeprefix(f"{field.group}/")
        dataset = None if group is None else safe_hdf5.child_dataset(group, child, path)
        if dataset is not None:
            datasets[name] = dataset
    missing = [name for name in REQUIRED_FIELDS if name not in datasets]
    if missing:
        raise InputError(f"{path} has no dataset {' and no '.join(missing)}: nothing to show")
    sizes: dict[str, int] = {}
    for name, dataset in datasets.items():
        _check(FIELDS[name], dataset, sizes, path)
    if max(sizes["observation"], sizes.get("action", 1)) > MAX_SIZE:
        raise InputError(
            f"{path} has D = {sizes['observation']} observation dimensions "
            f"(F = {sizes.get('action', 0)}); imagine reads up to {MAX_SIZE}"
        )
    return datasets, sizes


def read_names(file: Any, group: str, size: int, path: Path) -> list[str] | None:
    """The names on the scale ``group/group`` (``size`` of them), None where there are none."""
    parent = safe_hdf5.child_group(file, group, path)
    scale = None if parent is None else safe_hdf5.child_dataset(parent, group, path)
    if scale is None or scale.shape != (size,) or h5py.check_string_dtype(scale.dtype) is None:
        return None
    return safe_hdf5.read_strings(scale, path)


def _check(field: Field, dataset: Any, sizes: dict[str, int], path: Path) -> None:
    where, shape = f"{field.name} in {path}", dataset.shape
    if dataset.dtype.kind not in "fiu":
        raise InputError(f"{where} has numbers of type {dataset.dtype}, not floats")
    if len(shape) != len(field.axes) or 0 in shape:
        raise InputError(f"{where} has the shape {shape}, not {field.letters}")
    for axis, length in zip(field.axes, shape, strict=True):
        label = axis_label(axis)
        size = length - field.after if axis == "step" else length
        if sizes.setdefault(label, size) != size:
            known = ", ".join(f"{LETTERS[label]} = {size}" for label, size in sizes.items())
            raise InputError(
                f"{where} has the shape {shape}, which disagrees with {field.letters} where {known}"
            )
