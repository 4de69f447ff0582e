"""Exported programs taken apart and put together again, also with what should not be in them."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

__all__ = [
    "CONSTANTS", "DECLARED", "HIDDEN", "INPUTS", "MODEL", "WEIGHTS", "archive", "changed",
    "members",
]  # fmt: skip

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
INPUTS = "data/sample_inputs/model.pt"
DECLARED = "extra/imagine.json"


def members(path: Path) -> dict[str, bytes]:
    """What is in an archive, below its folder."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def archive(path: Path, content: dict[str, bytes]) -> Path:
    """An archive as torch writes them: nothing compressed, tensors where torch finds them."""
    writer = torch._C.PyTorchFileWriter(str(path))
    for name, data in content.items():
        if name not in ("version", "byteorder", ".data/version", ".data/serialization_id"):
            writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    return path


def changed(good: Path, tmp_path: Path, name: str, change: Callable[[Any], Any]) -> Path:
    """A copy of a good file whose JSON member ``name`` is what ``change`` makes of it."""
    content = members(good)
    data = json.loads(content[name])
    again = change(data)
    content[name] = json.dumps(data if again is None else again).encode()
    return archive(tmp_path / "wm.pt2", content)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def pickled(target: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Bomb(target), buffer)
    return buffer.getvalue()


def in_example_inputs(content: dict[str, bytes], target: Path) -> None:
    content[INPUTS] = pickled(target)


def in_weights(content: dict[str, bytes], target: Path) -> None:
    config = json.loads(content[WEIGHTS])
    entry = next(iter(config["config"].values()))
    entry["use_pickle"] = True
    content[WEIGHTS] = json.dumps(config).encode()
    content[f"data/weights/{entry['path_name']}"] = pickled(target)


def in_legacy_weights(content: dict[str, bytes], target: Path) -> None:
    content["data/weights/model.pt"] = pickled(target)


def in_opaque_constants(content: dict[str, bytes], target: Path) -> None:
    config = json.loads(content[CONSTANTS])
    entry = dict(next(iter(config["config"].values())), path_name="opaque_obj_0", use_pickle=True)
    config["config"]["bomb"] = entry
    content[CONSTANTS] = json.dumps(config).encode()
    content["data/constants/opaque_obj_0"] = pickle.dumps(Bomb(target))


def in_a_shape(content: dict[str, bytes], target: Path) -> None:
    """torch gives the expressions of dynamic sizes to sympy, which evaluates them as Python."""
    found = re.search(rb'"expr_str": ?("Symbol[^"]*")', content[MODEL])
    assert found is not None
    expression = json.dumps(f"__import__('os').mkdir({str(target)!r})").encode()
    content[MODEL] = content[MODEL].replace(found[1], expression, 1)


HIDDEN = {
    "example inputs": (in_example_inputs, ""),
    "weights": (in_weights, "holds pickled Python objects .*refused"),
    "legacy weights": (in_legacy_weights, "could run code: it is refused"),
    "opaque constants": (in_opaque_constants, "refused"),
    "a shape": (in_a_shape, ""),
}
