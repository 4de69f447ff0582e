"""Files of ``torch.export.save`` (``.pt2``), read without ``torch.export.load``.

``torch.export.load`` unpickles example inputs, constants and weights (where it is told to by the
file itself without ``weights_only``), evaluates the file's shape expressions and guards as Python,
and loads compiled libraries. None of that is needed: an archive holds the program as JSON and the
tensors as raw bytes, and these alone are read. Archives that hold anything else but the example
inputs, which torch always writes and nobody needs, are refused.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagine_cli.checkpoint.format import Checkpoint
from imagine_cli.checkpoint.pt2_graph import program_of, scalar_type
from imagine_cli.errors import InputError
from imagine_cli.files import plain_data
from imagine_cli.world_models.output_keys import output_names
from imagine_cli.world_models.signature import Signature

FORMAT, VERSION = "imagine-exported-world-model", 1
DECLARATION = "imagine.json"

_MODEL = "models/model.json"
_PLAIN = re.compile(
    r"models/model\.json|data/(weights|constants)/model_(weights|constants)_config\.json"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+|data/sample_inputs/model\.pt|extra/.*"
    r"|archive_format|archive_version|version|byteorder|\.data/(version|serialization_id)"
)


def is_archive(path: Path) -> bool:
    """Whether ``path`` is an archive of ``torch.export.save``, of this year's format or not."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
            return "archive_format" in names or "serialized_exported_program.json" in (
                names | set(archive.namelist())
            )
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def read_archive(path: Path, told: Signature | None = None) -> Checkpoint:
    """The program, its tensors and what it declares itself to be. Nothing in the file runs.

    Args:
        path: the file.
        told: what its inputs and outputs are, in place of what it declares.

    Raises:
        InputError: an archive that is damaged, swells, holds what could run, or doesn't declare
            what it is where nothing is told.
    """
    with _opened(path, "world model") as members:
        declared = _declaration(members, path) if told is None else _described(members, path, told)
        reads = [str(key) for key in declared["in_keys"]]
        samples = "noise" in reads and "latent" not in reads
        # What is sampled is the state that it goes on from.
        given = ["latent" if samples and key == "observation" else key for key in reads]
        program, state = _program(members, path, given, "world model", told)
        try:
            kind, config = _config(declared, reads, program, samples)
        except InputError as error:
            raise InputError(f"{path} can't be used as a world model: {error}") from error
        env, metadata = (dict(declared.get(key) or {}) for key in ("env", "metadata"))
        return Checkpoint(kind, config, state, env, metadata, source="torch.export")


def _config(
    declared: dict[str, Any], reads: list[str], program: dict[str, Any], samples: bool
) -> tuple[str, dict[str, Any]]:
    """The kind of model that it is, and what that is made of beside its tensors."""
    told = {key: declared.get(key) for key in ("observation_size", "action_size", "dtype")}
    config = {**told, "computes_in": told["dtype"], "program": program}
    difference, keys = declared.get("difference", False), declared["out_keys"]
    if not {"latent", "noise"} & set(reads):
        noise = declared.get("process_noise") or []
        about = {"in_keys": reads, "out_keys": keys, "difference": difference}
        return "exported", {**config, **about, "process_noise": noise}
    config |= {key: declared.get(key) for key in ("latent_size", "noise_size")}
    if not samples:
        return "latent", {**config, "outputs": keys}
    names = output_names(keys)
    if "var" in names:
        raise InputError("what it makes of noise is a sample, and can't have a var beside it")
    given = {name: each for name, each in zip(names, program["outputs"], strict=True) if name}
    if difference:
        sums = ["aten.add.Tensor", [{"value": "latent"}, {"value": given["mean"]}], {}, "sum"]
        program = {**program, "steps": [*program["steps"], sums]}
        given["mean"] = "sum"
    outputs = ["observation", given["mean"], *given.values()]
    return "latent", {
        **config, "latent_size": told["observation_size"], "outputs": ["encoded", "latent", *given],
        "program": {**program, "outputs": outputs},
    }  # fmt: skip


def read_policy(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The program from observations to actions in an archive, and its tensors. Nothing runs.

    Raises InputError as :func:`read_archive`; what the program is for need not be declared.
    """
    with _opened(path, "policy") as members:
        return _program(members, path, ["observation"], "policy")


@contextmanager
def _opened(path: Path, what: str) -> Iterator[_Members]:
    plain_data.check_looks(path, what)
    try:
        with zipfile.ZipFile(path) as archive:
            yield _Members(archive, path)
    except InputError:
        raise
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise InputError(f"{path} can't be read as an exported program: {reason}") from error


class _Members:
    """What is in the archive, below its one folder."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.archive = archive
        self.names = {name.partition("/")[2]: name for name in archive.namelist()}
        if "archive_format" not in self.names:
            raise InputError(
                f"{path} was exported by a torch before 2.8, whose format is not read here; "
                "export the module again with a newer one"
            )
        for name in sorted(self.names):
            if not _PLAIN.fullmatch(name):
                raise InputError(
                    f"{path} holds {name!r}, more than one program and its tensors, which could "
                    "run code: it is refused"
                )

    def bytes(self, name: str) -> bytes:
        return self.archive.read(self.names[name])

    def json(self, name: str) -> Any:
        return json.loads(self.bytes(name))


def _program(
    members: _Members, path: Path, given: list[str], what: str, told: Signature | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        tensors = {**_tensors(members, "weights"), **_tensors(members, "constants")}
        graph_module = members.json(_MODEL)["graph_module"]
        program, used = program_of(graph_module, given, set(tensors))
        program = program if told is None else told.applied(program)
    except InputError as error:
        raise InputError(f"{path} can't be used as a {what}: {error}") from error
    # Names with dots can't be buffers, and nobody asks for them.
    state = {f"tensor_{k}": tensors[name] for k, name in enumerate(used)}
    plain_data.check_tensors(state, path, what)
    return program, state


def _declaration(members: _Members, path: Path) -> dict[str, Any]:
    name = f"extra/{DECLARATION}"
    if name not in members.names:
        raise InputError(
            f"{path} doesn't say which of its inputs and outputs is what; make it with "
            "imagine_cli.export_world_model, or say it to imagine convert, as in --inputs "
            "observation,action --outputs mean,var; a policy goes to --policy as it is"
        )
    declared = members.json(name)
    if not isinstance(declared, dict) or declared.get("format") != FORMAT:
        raise InputError(f"the {DECLARATION} in {path} is not of the format {FORMAT!r}")
    if declared.get("version") != VERSION:
        raise InputError(
            f"the {DECLARATION} in {path} has version {declared.get('version')!r} and this imagine "
            f"reads version {VERSION}; update imagine, or export the module again"
        )
    for key in ("in_keys", "out_keys"):
        if not isinstance(declared.get(key), list):
            raise InputError(f"the {DECLARATION} in {path} has no {key}")
    return declared


def _described(members: _Members, path: Path, told: Signature) -> dict[str, Any]:
    """What a file would declare: its sizes are those of the inputs that it was exported with."""
    graph_module = members.json(_MODEL)["graph_module"]
    specs = graph_module["signature"]["input_specs"]
    names = [
        each["user_input"]["arg"]["as_tensor"]["name"] for each in specs if "user_input" in each
    ]
    if len(names) != len(told.inputs):
        raise InputError(
            f"{path} takes {len(names)} inputs, and --inputs names {len(told.inputs)}: "
            f"{','.join(told.inputs)}"
        )
    values = graph_module["graph"]["tensor_values"]
    about = {name: values[value] for name, value in zip(told.inputs, names, strict=True)}
    for name, each in about.items():
        if len(each["sizes"]) != 2:
            raise InputError(
                f"{path} takes one {name} and not rows of them: export it with inputs (N, size)"
            )
    dtype = scalar_type(about["observation"]["dtype"])
    sizes = {f"{name}_size": _whole(each["sizes"][1]) for name, each in about.items()}
    return {
        "in_keys": told.inputs, "out_keys": told.keys, "difference": "delta" in told.outputs,
        "dtype": str(dtype).removeprefix("torch."), **sizes,
    }  # fmt: skip


def _tensors(members: _Members, what: str) -> dict[str, Tensor]:
    """The weights, or the constants, by the names that the signature has."""
    config = members.json(f"data/{what}/model_{what}_config.json")["config"]
    found = {}
    for name, entry in config.items():
        if entry["use_pickle"] is not False or not re.fullmatch(
            r"(weight|tensor)_\d+", entry["path_name"]
        ):
            raise InputError(
                f"it holds pickled Python objects ({name}), and loading those can run any code: "
                "it is refused; export a module whose parameters are plain tensors"
            )
        found[name] = _tensor(members.bytes(f"data/{what}/{entry['path_name']}"), entry)
    return found


def _tensor(content: bytes, entry: dict[str, Any]) -> Tensor:
    """A tensor of raw bytes, sizes and strides, which must fit."""
    about = entry["tensor_meta"]
    dtype = scalar_type(about["dtype"])
    sizes = [_whole(size) for size in about["sizes"]]
    strides = [_whole(stride) for stride in about["strides"]]
    offset = _whole(about["storage_offset"])
    if math.prod(sizes) == 0:
        return torch.zeros(sizes, dtype=dtype)
    flat = torch.frombuffer(bytearray(content), dtype=dtype)
    if dtype == torch.bool:  # a byte that is neither 0 nor 1 is none
        flat = flat.view(torch.uint8).ne(0)
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    # A tensor that is larger than what is stored of it is not one that a module has.
    if last >= len(flat) or math.prod(sizes) > len(flat):
        raise ValueError(f"a tensor of {sizes} in {len(content)} bytes")
    return flat.as_strided(sizes, strides, offset).contiguous().clone()


def _whole(value: Any) -> int:
    number = value["as_int"]
    if type(number) is not int or number < 0:
        raise ValueError(f"a size of {number}")
    return number
