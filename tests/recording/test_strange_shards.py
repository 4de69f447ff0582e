"""Shards that somebody put into ``<target>.partial``, their digests right."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from imagine_cli.errors import InputError
from imagine_cli.recording import shard as module
from imagine_cli.recording.probe import probing
from imagine_cli.recording.shard import Shard, open_shard

SHARD = Shard(0, 1, 0, 4)


def put(folder: Path, fill: Callable[[Any], object]) -> None:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs["rollout"], file.attrs["shard"] = "this one", SHARD
        fill(file)
    image = memory.getvalue()
    (folder / SHARD.filename).write_bytes(image + hashlib.sha256(image).digest())


def short_chunk(file: Any) -> None:
    dataset = file.create_dataset("observation/mean", (8,), "f8", chunks=(4,), fletcher32=True)
    dataset.id.write_direct_chunk((4,), b"x")


@pytest.mark.parametrize(
    ("fill", "sentence"),
    [
        (short_chunk, "a chunk lacks its checksum"),
        (lambda file: file.create_dataset("state/big", (10**12,), "f8"), "can't hold"),
        (
            lambda file: file.__setitem__("state/x", h5py.ExternalLink("y.h5", "/x")),
            "is a link to somewhere else",
        ),
        (lambda file: file.__setitem__("state/loop", file["/"]), "8 deep in each other"),
    ],
)
def test_they_are_looked_at_like_a_strangers_file(
    tmp_path: Path, fill: Callable[[Any], object], sentence: str
) -> None:
    put(tmp_path, fill)
    with (
        pytest.raises(InputError, match=sentence),
        open_shard(tmp_path, SHARD, "this one"),
    ):
        pass


def test_one_that_crashes_the_library_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, lambda file: file.create_dataset("x", data=np.zeros(3)))
    monkeypatch.setattr(module, "_read_all", lambda path: os.abort())
    with (
        probing(),
        pytest.raises(InputError, match="crashes on it"),
        open_shard(tmp_path, SHARD, "this one"),
    ):
        pass


def test_what_it_lacks_is_said(tmp_path: Path) -> None:
    put(tmp_path, lambda file: file.create_dataset("state/x", data=np.arange(3)))
    for trusted in (False, True):
        with open_shard(tmp_path, SHARD, "this one", trusted=trusted) as file:
            assert file.state()["x"].tolist() == [0, 1, 2]
            with pytest.raises(InputError, match="it has no observation/mean"):
                file.read("observation/mean")
