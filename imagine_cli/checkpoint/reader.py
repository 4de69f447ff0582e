"""Reading world-model checkpoints, ours and those of others that hold plain data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imagine_cli.checkpoint import mbrl_lib, pt2, torchrl_gp
from imagine_cli.checkpoint.format import FORMAT, VERSION, Checkpoint
from imagine_cli.environments import same_env
from imagine_cli.errors import InputError
from imagine_cli.files import plain_data

if TYPE_CHECKING:
    from imagine_cli.environments import EnvDescription


def load_world_model(
    path: str | Path,
    *,
    trust_pickle: bool = False,
    device: str | torch.device = "cpu",
    check: Callable[[str | Path, Checkpoint], None] | None = None,
) -> Any:
    """The world model in a checkpoint.

    Ours (``save_world_model``, ``imagine fit``), an exported program
    (:func:`imagine_cli.export_world_model`), a torchrl ``GPWorldModel.state_dict()`` that was
    saved with ``torch.save``, or a folder with a model of mbrl-lib.

    Args:
        path: the file or folder.
        trust_pickle: also load a pickled TensorDictModule, which may run any code at all.
        device: where its tensors go.
        check: called with the path and the checkpoint before the model is made.

    Returns:
        A :class:`imagine_cli.world_models.WorldModel`; only with ``trust_pickle`` perhaps the
        TensorDictModule that was pickled.

    Raises:
        InputError: one sentence that says what is wrong with the file and what to do.
    """
    plain = mbrl_lib.is_folder(Path(path)) or pt2.is_archive(Path(path)) or _is_onnx(path)
    if trust_pickle and not plain:
        unpickled = _unpickle(Path(path), device)
        if unpickled is not None:
            return unpickled
    checkpoint = read_checkpoint(path)
    if check is not None:
        check(path, checkpoint)
    try:
        return checkpoint.model().to(device)
    except InputError as error:
        raise InputError(f"{path} can't be used as a world model: {error}") from error


def checkpoint_files(path: str | Path) -> list[Path]:
    """The files that a checkpoint is made of: itself, or what is read of a folder."""
    return mbrl_lib.files(Path(path)) if mbrl_lib.is_folder(Path(path)) else [Path(path)]


def check_env(env: EnvDescription) -> Callable[[str | Path, Checkpoint], None]:
    """A check that a checkpoint is a model of ``env``, where the checkpoint says of which."""

    def check(path: str | Path, checkpoint: Checkpoint) -> None:
        known = checkpoint.env.get("id")
        if known is None:
            return
        if not same_env(str(known), env.id):
            raise InputError(
                f"{path} is a model of {known}, not of {env.id}; give --env {known}, or fit one: "
                f"imagine fit --env {env.id}"
            )
        kwargs = checkpoint.env.get("kwargs", {})
        if kwargs != env.kwargs:
            warnings.warn(
                f"{path} was fitted with the env arguments {kwargs or 'none'}, and this env has "
                f"{env.kwargs or 'none'}",
                stacklevel=2,
            )

    return check


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The plain data in a checkpoint. Nothing in the file runs. InputError as above."""
    if mbrl_lib.is_folder(Path(path)):
        return mbrl_lib.read_folder(Path(path))
    if pt2.is_archive(Path(path)):
        return pt2.read_archive(Path(path))
    if _is_onnx(path):
        graph = torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8)
        return Checkpoint("onnx", {}, {"graph": graph}, source="ONNX")
    data = plain_data.read(
        Path(path),
        "world model",
        instead="if you made the file yourself and know what is in it, give --trust-pickle "
        "(trust_pickle=True); better, write it with imagine_cli.export_world_model, or "
        "save_world_model",
    )
    if torchrl_gp.is_state_dict(data):
        return torchrl_gp.read_state_dict(data, str(path))
    return _validated(data, str(path))


def _is_onnx(path: str | Path) -> bool:
    return Path(path).suffix == ".onnx" and Path(path).is_file() and Path(path).stat().st_size > 0


def _validated(data: Any, path: str) -> Checkpoint:
    if not isinstance(data, dict) or str(data.get("format")) != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        hint = " (that is a policy: give it to --policy)" if found == "imagine-policy" else ""
        if isinstance(data, dict) and all(isinstance(each, torch.Tensor) for each in data.values()):
            hint = "; of a module's state dict imagine convert --trust-code module:Class makes one"
        raise InputError(
            f"{path} is not a world-model checkpoint: its format is {found!r}, not {FORMAT!r}{hint}"
        )
    version = data.get("version")
    if type(version) is not int or version != VERSION:
        raise InputError(
            f"{path} has version {version!r} of the checkpoint format and this imagine reads "
            f"version {VERSION}; update imagine, or write the file again"
        )
    if data.get("kind") == "onnx":  # whose parser is for files that are called so
        raise InputError(f"{path} holds an ONNX graph, which is read from a .onnx file alone")
    kinds = {"kind": str, "config": dict, "state_dict": dict, "env": dict, "metadata": dict}
    for key, kind in kinds.items():
        if not isinstance(data.get(key), kind):
            raise InputError(f"{path} is damaged: its {key!r} is missing or not a {kind.__name__}")
    plain_data.check_tensors(data["state_dict"], Path(path), "world model")
    described = {
        key: plain_data.plain(data[key], f"the {key!r} in {path}")
        for key in ("config", "env", "metadata")
    }
    for key, of in (("kwargs", dict), ("observation_names", list)):
        if not isinstance(described["env"].get(key, of()), of):
            raise InputError(f"{path} is damaged: its env's {key!r} is not a {of.__name__}")
    return Checkpoint(kind=data["kind"], state_dict=data["state_dict"], **described)


def _unpickle(path: Path, device: str | torch.device) -> torch.nn.Module | None:
    """The pickled module in a file; None where the file holds plain data."""
    plain_data.check_looks(path, "world model")
    warnings.warn(f"--trust-pickle: whatever code {path} names is run", stacklevel=3)
    try:
        loaded = torch.load(path, map_location=device, weights_only=False)
    except Exception as error:  # what is unpickled may raise anything at all
        raise InputError(f"{path} can't be unpickled: {_short(error)}") from error
    if isinstance(loaded, dict):
        return None
    if not isinstance(loaded, torch.nn.Module) or not hasattr(loaded, "in_keys"):
        raise InputError(
            f"{path} holds a {type(loaded).__name__}, not a TensorDictModule with in_keys"
        )
    return loaded


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
