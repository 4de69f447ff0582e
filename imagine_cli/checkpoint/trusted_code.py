"""A state dict that needs a class of the user's to be a model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagine_cli.checkpoint.export import export_world_model
from imagine_cli.checkpoint.format import Checkpoint
from imagine_cli.checkpoint.pt2 import read_archive
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.files import plain_data
from imagine_cli.registry import named_by_user
from imagine_cli.world_models.program import function_of
from imagine_cli.world_models.signature import OUTPUTS, Signature


def read_state_dict(
    path: Path, spec: str, env: str | EnvDescription | None, kwargs: dict[str, Any] | None,
    told: Signature | None,
) -> Checkpoint:  # fmt: skip
    """The model as an exported program, once ``module:Class`` was imported and made.

    The file itself is read as plain data, and nothing in it runs.

    Args:
        path: the state dict.
        spec: ``module:Class``, of which an object is made without arguments; a function that
            makes one does as well.
        env, kwargs: which give the sizes.
        told: what its inputs and outputs are, where it is no TensorDictModule that says so.

    Raises InputError where any of that fails.
    """
    if env is None:
        raise InputError(f"{spec} is exported at points of an env's sizes: give --env")
    if told is not None and "noise" in told.inputs:
        raise InputError(f"with --trust-code no noise can be told: export {spec} in Python")
    state = plain_data.read(path, "state dict", instead="save its state_dict() alone")
    made = named_by_user(spec, "--trust-code")
    try:
        module = made()
        module.load_state_dict(state)
    except Exception as error:  # a user's class may raise anything at all
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"{path} can't be loaded into a {spec}: {reason}") from error
    about: dict[str, Any] = {}
    if told is not None:
        module = _Told(module, told)
        about = {"in_keys": told.inputs, "out_keys": told.keys}
        about["difference"] = "delta" in told.outputs
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wm.pt2"
        export_world_model(module, file, env=env, env_kwargs=kwargs, **about)
        return read_archive(file)


class _Told(torch.nn.Module):
    """A module whose outputs are variances where these are something else."""

    def __init__(self, module: torch.nn.Module, told: Signature) -> None:
        super().__init__()
        self.module, self._made = module, [OUTPUTS[name][1] for name in told.outputs]

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        found = self.module(*given)
        found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if len(found) != len(self._made):
            return found  # and that is refused
        pairs = zip(found, self._made, strict=True)
        return tuple(each if made is None else function_of(made)(each) for each, made in pairs)
