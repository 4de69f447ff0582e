"""Checkpoints and rollouts by strangers: nothing in them runs, nothing outside them is read."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from imagine_cli import InputError, load_world_model, open_rollout, save_world_model
from imagine_cli.cli import main
from tests.helpers.rollout_files import numbers, write, write_plainly
from tests.helpers.worlds import small_gp

Members = dict[str, bytes]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_world_model(small_gp(3, 1, n=4), tmp_path / "wm.pt")
    return tmp_path / "wm.pt"


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rebuild(path: Path, parts: Members) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def bomb(target: Path) -> bytes:
    """A pickle that makes a folder."""
    name = str(target).encode()
    return b"\x80\x02cos\nmkdir\nX" + len(name).to_bytes(4, "little") + name + b"\x85R."


def wherever(parts: Members, harm: bytes) -> list[Members]:
    """The archive with ``harm`` in each place that it could be in."""
    (pickled,) = (name for name in parts if name.endswith("data.pkl"))
    folder = pickled.removesuffix("data.pkl")
    replaced = [{**parts, name: harm} for name in parts]
    added = [
        {**parts, name: harm}
        for name in (
            "data.pkl",
            f"{folder}constants.pkl",
            f"{folder}data/data.pkl",
            "../x.pkl",
            f"{folder}code/__torch__.py",
            f"{folder}.data/serialization_id",
        )
    ]
    inside = harm.removeprefix(b"\x80\x02").removesuffix(b".")
    first, rest = parts[pickled][:3], parts[pickled][3:]
    return [
        *replaced,
        *added,
        {**parts, pickled: first + inside + b"0" + rest},
        {**parts, pickled: parts[pickled] + harm},
        {pickled: harm},
    ]


def test_a_pickle_in_any_position_is_never_run(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "was_run"
    places = wherever(members(checkpoint), bomb(target))
    assert len(places) > 15
    refused = 0
    for parts in places:
        rebuild(checkpoint, parts)
        try:
            load_world_model(checkpoint)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
        assert not target.exists()
    assert refused >= len(members(checkpoint)) - 1
    for bare in (bomb(target), bomb(target) * 3, b"\x80\x02N." + bomb(target)):
        checkpoint.write_bytes(bare)
        with pytest.raises(InputError, match="pickled Python objects"):
            load_world_model(checkpoint)
    assert not target.exists()


def pickled(checkpoint: Path, data: bytes) -> Path:
    parts = members(checkpoint)
    (name,) = (name for name in parts if name.endswith("data.pkl"))
    rebuild(checkpoint, {**parts, name: data})
    return checkpoint


@pytest.mark.parametrize(
    "name",
    [
        b"builtins\nbytearray",  # torch.load(weights_only=True) lets all of these be called
        b"torch\nDoubleTensor",
        b"torch.distributed.device_mesh\nDeviceMesh",
        b"torch._utils\n_rebuild_wrapper_subclass",
    ],
)
def test_what_allocates_is_not_called(checkpoint: Path, name: bytes) -> None:
    size = b"\x8a\x07" + (10**15).to_bytes(7, "little")
    pickled(checkpoint, b"\x80\x02c" + name + b"\n" + size + b"\x85R.")
    with pytest.raises(InputError, match="refused"):
        load_world_model(checkpoint)


def nested(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def unfolding(levels: int) -> bytes:
    """Ten times the same list, of ten times the same list, and so on."""
    text = b"\x80\x02]q\x00"
    for level in range(levels):
        get, put = bytes([level]), bytes([level + 1])
        text += b"](" + b"h" + get + (b"h" + get) * 9 + b"eq" + put
    return text + b"."


def itself() -> bytes:
    return b"\x80\x02]q\x00h\x00a."


@pytest.mark.parametrize(
    "data", [nested(100_000), unfolding(30), itself()], ids=["deep", "unfolding", "itself"]
)
def test_lists_without_a_sensible_end(checkpoint: Path, data: bytes) -> None:
    with pytest.raises(InputError, match="lists or dicts more than 64 deep|more than 100000 val"):
        load_world_model(pickled(checkpoint, data))


def claims(checkpoint: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    data = torch.load(checkpoint, weights_only=True)
    data["state_dict"]["inputs"] = change(data["state_dict"]["inputs"])
    torch.save(data, checkpoint)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x[:1, :1].expand(10**8, 10**7), "claims more numbers than it has"),
        (lambda x: torch.arange(8.0).unfold(0, 4, 1)[:4], "claims more numbers than it has"),
        (lambda x: x.to_sparse(), "a tensor that is not a plain one"),
        (lambda x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.quint8), "not a plain one"),
        (lambda x: x.to("meta"), "a tensor that is not a plain one"),
    ],
    ids=["expanded", "overlapping", "sparse", "quantized", "meta"],
)
def test_tensors_that_are_not_what_they_claim(checkpoint: Path, change: Any, sentence: str) -> None:
    claims(checkpoint, change)
    with pytest.raises(InputError, match=sentence):
        load_world_model(checkpoint)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (tmp_path / "to-zero").symlink_to("/dev/zero")
    for name in ("/dev/zero", "/dev/tty", tmp_path / "pipe", loop, tmp_path / "to-zero", tmp_path):
        for command in (["inspect", str(name)], ["compare", str(name), str(name)]):
            done = subprocess.run(
                [sys.executable, "-m", "imagine_cli", *command],
                capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert done.returncode == 2, (command, done.stderr)
            assert done.stderr.startswith("imagine: error: ")
            assert len(done.stderr.splitlines()) == 1
    for name in (tmp_path / "pipe", tmp_path / "to-zero"):
        with pytest.raises(InputError, match="is not a regular file"):
            load_world_model(name)


def heap_of(path: Path) -> tuple[bytearray, int]:
    content = bytearray(path.read_bytes())
    return content, content.index(b"GCOL")


@pytest.mark.parametrize("size", [0, 1, 2**40, 2**64 - 8, 2**64 - 16])
@pytest.mark.parametrize("ours", [True, False])
def test_a_damaged_heap_of_strings_is_a_sentence(tmp_path: Path, size: int, ours: bool) -> None:
    """A size of zero is an endless loop in the HDF5 library, a huge one a crash."""
    path = tmp_path / "r.h5"
    if ours:
        write(path, numbers(1, 3))
    else:
        write_plainly(path, numbers(1, 3), env_id="Pendulum-v1", policy="zero")
    content, heap = heap_of(path)
    at = heap + 16
    while int.from_bytes(content[at : at + 2], "little"):  # to the free space, object 0
        length = int.from_bytes(content[at + 8 : at + 16], "little")
        at += 16 + -(-length // 8) * 8
    content[at + 8 : at + 16] = size.to_bytes(8, "little")
    path.write_bytes(content)
    try:
        with open_rollout(path) as rollout:
            np.testing.assert_array_equal(rollout.mean(), numbers(1, 3)["observation/mean"])
            assert rollout.env_id is None  # strings in the heap are lost, numbers are not
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017


def test_one_string_in_many_places_does_not_fill_memory(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    write_plainly(path, numbers(1, 3))
    with h5py.File(path, "a") as file:
        for k in range(30):
            file.attrs[f"long{k}"] = "x" * 1_000_000
    with pytest.raises(InputError, match="has attributes of more than 16 MiB"):
        open_rollout(path)


def test_a_file_that_crashes_the_library_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from imagine_cli.recording import reader

    path = tmp_path / "r.h5"
    write(path, numbers(1, 3))
    for harm, sentence in ((os.abort, "crashes on it"), (_forever, "does not come to an end")):
        monkeypatch.setattr("imagine_cli.recording.probe._SECONDS", 1)
        monkeypatch.setattr(reader, "_touch", lambda path, harm=harm: harm())
        assert main(["inspect", str(path)]) == 2
        error = capsys.readouterr().err
        assert "is damaged and can't be opened: the HDF5 library" in error
        assert sentence in error


def _forever() -> None:
    while True:
        pass


def test_an_archive_for_the_other_byte_order(checkpoint: Path) -> None:
    parts = members(checkpoint)
    (name,) = (name for name in parts if name.endswith("byteorder"))
    other = {"little": b"big", "big": b"little"}[sys.byteorder]
    rebuild(checkpoint, {**parts, name: other})
    with pytest.raises(InputError, match="numbers in the byte order"):
        load_world_model(checkpoint)
