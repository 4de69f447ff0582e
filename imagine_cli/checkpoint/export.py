"""Any module as a ``.pt2`` file that says what it is."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagine_cli.checkpoint.pt2 import DECLARATION, FORMAT, VERSION, read_archive
from imagine_cli.checkpoint.torch_export import archive, called, dtype_of, evaluating, program_from
from imagine_cli.checkpoint.writer import described
from imagine_cli.environments import EnvDescription, describe_named
from imagine_cli.errors import InputError
from imagine_cli.files import plain_data
from imagine_cli.files.whole_file import whole_file
from imagine_cli.world_models.output_keys import output_names
from imagine_cli.world_models.process_noise import check_process_noise

_OUT_KEYS = [["next", of, part] for of in ("observation", "reward") for part in ("mean", "var")]


def export_world_model(
    module: torch.nn.Module,
    path: str | Path,
    *,
    env: str | EnvDescription | None = None,
    env_kwargs: dict[str, Any] | None = None,
    observation_size: int | None = None,
    action_size: int | None = None,
    noise_size: int | None = None,
    in_keys: Sequence[str] | None = None,
    out_keys: Sequence[Any] | None = None,
    difference: bool = False,
    process_noise: Sequence[float] | None = None,
    metadata: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a module as a program that ``imagine rollout --model wm.pt2`` runs without its code.

    The module, in evaluation mode, takes observations ``(N, D)`` and actions ``(N, F)``, points
    of any number N, and gives the mean ``(N, D)`` of the next observation; then, as far as it has
    them, its variances ``(N, D)`` or covariance ``(N, D, D)``, and the reward's mean and variance,
    ``(N,)`` or ``(N, 1)``. What is written is read again, and its mean compared with the module's.

    Args:
        module: a TensorDictModule, whose keys say what is what, or any module.
        path: the file, ``wm.pt2``.
        env: the env it is a model of, or its id; it gives the sizes.
        env_kwargs: arguments for the env, where ``env`` is an id.
        observation_size, action_size: D and F, where there is no ``env``.
        noise_size: how many standard normal numbers a module takes as ``"noise"`` that samples the
            next observation of them, and gives no variance. Such a model is imagined by particles.
        in_keys: the order of its inputs; ``("observation", "action")`` for a plain module, and
            ``"noise"`` where there is any.
        out_keys: what its outputs are; for a plain module as many as it gives of
            ``("next", "observation", "mean")``, the same with ``"var"``, and
            ``("next", "reward", "mean")`` and ``"var"``.
        difference: whether the mean is that of ``next - current``.
        process_noise: standard deviations ``(D,)`` of what comes to the next observation, for a
            module that gives no variance; zero if None.
        metadata: how it was fitted: plain data.
        overwrite: replace a file that is there.

    Raises:
        InputError: a module that torch can't export, that calls what is not run here, or whose
            outputs are not those above.
        ImagineError: the disk refused.
    """
    env, *sizes = sizes_of(env, env_kwargs, observation_size, action_size)
    inputs = {"observation": sizes[0], "action": sizes[1]}
    if noise_size is not None:
        inputs["noise"] = noise_size
    given_keys: Any = in_keys or getattr(module, "in_keys", list(inputs))
    reads = [_short(key) for key in given_keys]
    if sorted(map(str, reads)) != sorted(inputs):
        raise InputError(
            f"an exported model reads 'observation' and 'action', and 'noise' of noise_size, not "
            f"{reads}"
        )
    dtype = dtype_of(module)
    points = points_of(inputs, dtype)
    given = [points[key] for key in reads]
    with evaluating(module):
        found = called(_Plain(module, reads), given)
    writes = list(out_keys or getattr(module, "out_keys", _OUT_KEYS[: len(found)]))
    writes = [list(key) if isinstance(key, tuple) else key for key in writes]
    if len(writes) != len(found):
        raise InputError(f"the module gives {len(found)} outputs, and there are keys for {writes}")
    deterministic = "var" not in output_names(writes)
    noise = check_process_noise(process_noise, sizes[0], dtype, deterministic=deterministic)
    declared = {
        "in_keys": reads,
        "out_keys": writes,
        **{f"{name}_size": size for name, size in inputs.items()},
        "dtype": str(dtype).removeprefix("torch."),
        "difference": difference,
        "process_noise": noise,
        "env": described(env),
        "metadata": plain_data.plain(metadata or {}, "metadata"),
    }
    with evaluating(module):
        program = program_from(_Plain(module, reads), given)
    content, model = archived(program, declared)
    with torch.no_grad():
        if noise_size is None:
            at = model.conditional(points["observation"], points["action"])
        else:
            at = model.advance(*points.values())[1]
    where = output_names(writes).index("mean")
    check_same(at.mean, points["observation"] + found[where] if difference else found[where])
    with whole_file(Path(path), f"the world model {path}", overwrite=overwrite) as file:
        file.write(content)


def sizes_of(
    env: str | EnvDescription | None, kwargs: dict[str, Any] | None, size: int | None,
    actions: int | None,
) -> tuple[EnvDescription | None, int, int]:  # fmt: skip
    """The env, D and F, of the env where there is one. Raises InputError where nothing says."""
    if isinstance(env, str):
        env = describe_named(env, kwargs)
    if env is not None:
        return env, env.observation_size, env.action_size
    if size is None or actions is None:
        raise InputError("an exported model needs env, or observation_size and action_size")
    return None, size, actions


def archived(program: Any, declared: dict[str, Any]) -> tuple[bytes, Any]:
    """The content of the file, and the model that is read from it."""
    about = json.dumps({"format": FORMAT, "version": VERSION, **declared})
    content = archive(program, {DECLARATION: about}, _read)
    return content, _read(content)


def check_same(found: Tensor, expected: Tensor) -> None:
    """Raises InputError where the file doesn't give what the module gave."""
    slack = 1e3 * torch.finfo(found.dtype).eps
    if not torch.allclose(found, expected, rtol=slack, atol=slack, equal_nan=True):
        raise InputError(
            "the exported program gives other numbers than the module: does it draw any at random?"
        )


class _Plain(torch.nn.Module):
    """A module or TensorDictModule from tensors to a tuple of tensors."""

    def __init__(self, module: torch.nn.Module, reads: list[str]) -> None:
        super().__init__()
        self.module = module
        self.by_name = hasattr(module, "in_keys")
        self.reads = reads

    def forward(
        self, first: Tensor, second: Tensor, third: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        given = (first, second) if third is None else (first, second, third)
        if self.by_name:
            found = self.module(**dict(zip(self.reads, given, strict=True)))
        else:
            found = self.module(*given)
        return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def _short(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) and len(key) == 1 else key


def points_of(sizes: Mapping[str, int], dtype: torch.dtype) -> dict[str, Tensor]:
    """Seven points: no size that a network would have by chance."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(7, sum(sizes.values()), generator=generator, dtype=dtype)
    parts = torch.split(drawn, list(sizes.values()), dim=1)
    return {name: part.clone() for name, part in zip(sizes, parts, strict=True)}


def _read(content: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wm.pt2"
        path.write_bytes(content)
        return read_archive(path).model()
