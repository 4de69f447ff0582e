"""A policy as a program for use elsewhere: ``.pt2`` of ``torch.export``, or ONNX."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagine_cli.checkpoint.torch_export import archive, evaluating, line, program_from, quiet
from imagine_cli.environments import EnvDescription, describe_named, env_said
from imagine_cli.errors import InputError, require
from imagine_cli.files.whole_file import check_writable, whole_file
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.checkpoint import describe_policy, load_policy
from imagine_cli.policies.exported import as_codes, make
from imagine_cli.policies.function import Actions
from imagine_cli.policies.parametric import ParametricPolicy

# Seven observations: no size that a network would have by chance.
_ROWS = 7


def export_policy(
    policy: str | Path | torch.nn.Module,
    path: str | Path,
    *,
    env: str | EnvDescription | None = None,
    env_kwargs: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a policy as a program from observations ``(N, D)`` to actions ``(N, F)``, N any number.

    What is written is run and compared with the policy: a ``.pt2`` as ``imagine rollout --policy
    policy.pt2`` runs it, ONNX by onnxruntime. Its input is called ``observation``, its output
    ``action``; a discrete env's are one-hot, unless the module gives the numbers of the choices.

    Args:
        policy: a policy of ours or its checkpoint; a TensorDictModule that reads "observation" and
            writes "action", such as torchrl's actors (give a stochastic one in its deterministic
            mode); or any module from observations to actions.
        path: the file, ``policy.pt2`` or ``policy.onnx``.
        env: the env it acts in, or its id; the one that the checkpoint names if None.
        env_kwargs: arguments for it.
        overwrite: replace a file that is there.

    Raises:
        InputError: a module that can't be exported, or that gives no actions of the env's.
        ImagineError: the disk refused.
    """
    target = Path(path)
    write = _WRITERS.get(target.suffix.lower())
    if write is None:
        raise InputError(f"a policy is exported to a .pt2 or an .onnx file, and not to {target}")
    check_writable(target, overwrite)
    about = _env(policy, env, env_kwargs)
    loaded = load_policy(policy, about) if isinstance(policy, (str, Path)) else policy
    module = Actions(loaded)
    with evaluating(loaded):
        dtype = next((p.dtype for p in loaded.parameters()), torch.get_default_dtype())
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(_ROWS, about.observation_size, generator=generator, dtype=dtype)
        try:
            with torch.no_grad():
                expected = module(x)
        except Exception as error:  # a module may raise anything at all
            shape = tuple(x.shape)
            raise InputError(f"the policy fails at observations {shape}: {line(error)}") from error
        content, found = write(program_from(module, [x]), x, about)
    expected, found = (as_codes(u, list(about.choices)) for u in (expected, found))
    slack = 1e3 * torch.finfo(dtype).eps
    same = found.shape == expected.shape
    if not same or not torch.allclose(found.to(dtype), expected.to(dtype), rtol=slack, atol=slack):
        raise InputError(
            "the exported program gives other actions than the policy: does it draw any at random?"
        )
    with whole_file(target, f"the policy {target}", overwrite=overwrite) as file:
        file.write(content)


def _env(
    policy: Any, env: str | EnvDescription | None, env_kwargs: dict[str, Any] | None
) -> EnvDescription:
    if isinstance(env, EnvDescription):
        return env
    if env is None:
        said = describe_policy(policy)["env"] if isinstance(policy, (str, Path)) else {}
        env, env_kwargs = env_said(said, policy, env_kwargs)
    return describe_named(env, env_kwargs)


def _pt2(program: Any, x: Tensor, env: EnvDescription) -> tuple[bytes, Tensor]:
    def read(content: bytes) -> ParametricPolicy:
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "policy.pt2")
            Path(file).write_bytes(content)
            return make(file, PolicyContext(env))

    content = archive(program, {}, read)
    with torch.no_grad():
        return content, read(content).respond_at(x)


def _onnx(program: Any, x: Tensor, env: EnvDescription) -> tuple[bytes, Tensor]:
    require("onnx", "onnx", "onnxscript", "onnxruntime")
    import onnxruntime

    names: dict[str, Any] = {"input_names": ["observation"], "output_names": ["action"]}
    try:
        with quiet(), redirect_stdout(io.StringIO()):
            exported = torch.onnx.export(program, dynamo=True, **names)
        assert exported is not None
        content = exported.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (found,) = session.run(["action"], {"observation": x.numpy()})
    except Exception as error:  # many kinds
        raise InputError(f"torch.onnx can't export the policy: {line(error)}") from error
    return content, torch.from_numpy(found)


_WRITERS: dict[str, Callable[[Any, Tensor, EnvDescription], tuple[bytes, Tensor]]] = {
    ".pt2": _pt2,
    ".onnx": _onnx,
}
