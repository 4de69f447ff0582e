"""Policy checkpoints: one ``torch.save`` of plain data, so that nothing in it can run.

``{"format": "imagine-policy", "version": 1, "kind": str, "config": {...}, "state_dict": {...},
"env": {...}, "metadata": {...}}``, the last two optional. The state dict of torchrl's
RBFController, saved as it is, is read too.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.actions import sizes
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.policies.registry import kind_named

__all__ = ["FORMAT", "VERSION", "load_policy", "make", "save_policy"]

FORMAT = "imagine-policy"
VERSION = 1

_RBF_CONTROLLER = {"centers", "weights", "lengthscales"}
_UNPACKED_LIMIT = 2**20


def load_policy(
    path: str | os.PathLike[str],
    env: EnvDescription,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> ParametricPolicy:
    """The policy in a checkpoint, for ``env``, with parameters of ``dtype`` on ``device``.

    A saved state dict of torchrl's RBFController becomes an RBFPolicy squashed into the env's
    own bounds, which have to be finite and symmetric.

    Raises InputError: no policy checkpoint, damaged, or not for an env like this one.
    """
    path = Path(path)
    content = _read(path)
    kind, config, state = _parts(path, content)
    cls = kind_named(kind)
    if cls is None:
        raise InputError(f"the policy {path} is of a kind {kind!r} that this version doesn't know")
    _check_tensors(path, state)
    made_for = content.get("env")
    _check_sizes(path, made_for, env)
    try:
        policy = cls.from_config(config, state, env)
    except InputError as error:
        raise InputError(f"the policy {path} doesn't fit: {error} ({sizes(env)})") from error
    policy.name = str(path)
    return policy.to(device=device, dtype=dtype)


def save_policy(
    policy: ParametricPolicy,
    path: str | os.PathLike[str],
    *,
    env: EnvDescription | None = None,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write ``policy`` as a checkpoint. It appears at ``path`` whole or not at all.

    Args:
        policy: a policy of a kind that checkpoints have.
        path: the file.
        env: the env that it is for.
        metadata: how it came to be: plain data (numbers, strings, lists, dicts).
        overwrite: replace a file that is there.

    Raises InputError: there is no writing it there.
    """
    if not isinstance(policy, ParametricPolicy):
        raise InputError(f"a {type(policy).__name__} has no parameters to save")
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give overwrite=True to replace it")
    state = {name: value.detach().cpu().clone() for name, value in policy.state_dict().items()}
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "kind": policy.kind,
        "config": policy.config(),
        "state_dict": state,
        "metadata": dict(metadata or {}),
    }
    if env is not None:
        content["env"] = {
            "id": env.id,
            "kwargs": env.kwargs,
            "observation_names": env.observation_names,
            "observation_size": env.observation_size,
            "action_size": env.action_size,
        }
    _write(content, path)


def make(
    argument: str,
    env: EnvDescription,
    seed: int,
    dtype: torch.dtype,
    device: torch.device | str,
) -> ParametricPolicy:
    """A path ending in .pt or .pth."""
    return load_policy(argument, env, dtype=dtype, device=device)


def _write(content: dict[str, Any], path: Path) -> None:
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(f"the policy {path} can't be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's files are the owner's alone
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise InputError(f"the policy {path} can't be written: {error.strerror}") from error
        raise


def _read(path: Path) -> dict[Any, Any]:
    """The content of the file, a dict of plain data. Runs nothing that is in it."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(f"the policy {path} can't be read: {error.strerror}") from error
    if head == b"\x89HDF\r\n\x1a\n":
        raise InputError(f"{path} is an HDF5 file; a policy checkpoint is what save_policy writes")
    is_zip = head.startswith(b"PK\x03\x04")
    if is_zip:
        _check_zip(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        if name is None:
            raise InputError(_damaged(path)) from error
        raise InputError(
            f"{path} is a pickle that runs code when read (it needs {name[1]}), which is refused; "
            "save the policy as plain data with imagine_cli.policies.save_policy"
        ) from error
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        raise InputError(_damaged(path)) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not a policy checkpoint")
    return content


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(_damaged(path)) from error
    if unpacked > 2 * path.stat().st_size + _UNPACKED_LIMIT:
        raise InputError(f"{path} unpacks to {unpacked} bytes, far more than it has: refused")


def _damaged(path: Path) -> str:
    return f"{path} can't be read: it is not what torch.save writes, or it is cut short or damaged"


def _parts(
    path: Path, content: Mapping[Any, Any]
) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
    """Kind, config and state dict."""
    found = content.get("format")
    if found is None and set(content) == _RBF_CONTROLLER:
        return "rbf", {}, content
    if found == "imagine-world-model" or "X_tilde_train" in content:  # or torchrl's GPWorldModel
        raise InputError(f"{path} is a world model, not a policy; give it as --model")
    if found is None:
        keys = ", ".join(repr(key) for key in list(content)[:6]) or "nothing"
        raise InputError(
            f"{path} is not a policy checkpoint: it holds {keys} and no 'format'; "
            "write it with imagine_cli.policies.save_policy"
        )
    if found != FORMAT:
        raise InputError(f"{path} has the format {found!r}; a policy checkpoint has {FORMAT!r}")
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        raise InputError(
            f"the policy {path} has version {version!r} of the format; this version of imagine "
            f"reads version {VERSION}"
        )
    kind, config, state = (content.get(key) for key in ("kind", "config", "state_dict"))
    if not isinstance(kind, str):
        raise InputError(f"the policy {path} lacks its 'kind'")
    if not isinstance(config, dict):
        raise InputError(f"the policy {path} lacks its 'config'")
    if not isinstance(state, dict):
        raise InputError(f"the policy {path} lacks its 'state_dict'")
    return kind, config, state


def _check_tensors(path: Path, state: Mapping[str, Any]) -> None:
    for name, tensor in state.items():
        plain = (
            isinstance(tensor, Tensor)
            and tensor.layout == torch.strided
            and tensor.device.type == "cpu"
            and not tensor.is_quantized
            and not tensor.is_nested
            # A tensor that claims to be larger than what is stored of it is not one we wrote.
            and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
        )
        if not plain:
            raise InputError(f"the policy {path}: {name!r} in its state is not a plain tensor")


def _check_sizes(path: Path, made_for: object, env: EnvDescription) -> None:
    if not isinstance(made_for, dict):
        return
    listed = made_for.get("observation_size"), made_for.get("action_size")
    for size, have in zip(listed, (env.observation_size, env.action_size), strict=True):
        if type(size) is int and size != have:
            raise InputError(
                f"the policy {path} was made for env {made_for.get('id')!r} with D = {listed[0]} "
                f"and F = {listed[1]}, but {sizes(env)}"
            )
