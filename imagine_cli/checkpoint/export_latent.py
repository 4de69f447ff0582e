"""World models with a latent state of their own as files that need their code no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagine_cli.checkpoint.export import archived, check_same, points_of, sizes_of
from imagine_cli.checkpoint.torch_export import called, dtype_of, evaluating, program_from
from imagine_cli.checkpoint.writer import described
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.files import plain_data
from imagine_cli.files.whole_file import whole_file
from imagine_cli.world_models.latent import INPUTS

_DECODED = {"mean": "mean", "var": "var", "reward": "reward_mean", "end": "end"}


def export_latent_world_model(
    encode: torch.nn.Module,
    step: torch.nn.Module,
    decode: torch.nn.Module,
    path: str | Path,
    *,
    env: str | EnvDescription | None = None,
    env_kwargs: dict[str, Any] | None = None,
    observation_size: int | None = None,
    action_size: int | None = None,
    noise_size: int = 0,
    decodes: tuple[str, ...] | None = None,
    metadata: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a world model with a latent state, such as an RSSM, for ``imagine rollout --model``.

    Each module, in evaluation mode, takes rows of any number N and treats each by itself. None
    draws at random: what is random is made of ``noise`` ``(N, noise_size)``, standard normal
    numbers that a trajectory's own stream gives; where ``noise_size`` is 0 it is left out.

    Args:
        encode: of observations ``(N, D)`` and noise, the latent states ``(N, L)`` that begin there.
        step: of latent states, actions ``(N, F)`` and noise, those a step later.
        decode: of latent states, the mean ``(N, D)`` of the observation; then, as far as there are
            any, its variances ``(N, D)`` or covariance ``(N, D, D)``, the reward of the step that
            led there and the probability that the episode ends there, ``(N,)`` or ``(N, 1)``.
        path: the file, ``wm.pt2``.
        env: the env it is a model of, or its id; it gives the sizes.
        env_kwargs: arguments for the env, where ``env`` is an id.
        observation_size, action_size: D and F, where there is no ``env``.
        noise_size: how many random numbers ``encode`` and ``step`` take.
        decodes: what ``decode`` gives, where it is not the first of ``("mean", "var", "reward",
            "end")``.
        metadata: how it was fitted: plain data.
        overwrite: replace a file that is there.

    Raises:
        InputError: modules that torch can't export, that call what is not run here, or whose
            outputs are not those above.
        ImagineError: the disk refused.
    """
    env, size, actions = sizes_of(env, env_kwargs, observation_size, action_size)
    whole = _Whole(encode, step, decode)
    dtype = dtype_of(whole)
    sizes = {"observation": size, "action": actions, "noise": noise_size}
    x, u, noise = points_of(sizes, dtype).values()
    with evaluating(whole):
        (encoded,) = called(encode, [x, noise] if noise_size else [x], "encode")
        if encoded.ndim != 2:
            raise InputError(f"encode gives a latent state {tuple(encoded.shape)}, not {(7, 'L')}")
        given = [x, encoded, u, *([noise] if noise_size else [])]
        found = called(whole, given, "step and decode")
        decoded = decodes or tuple(_DECODED)[: len(found) - 2]
        if len(decoded) != len(found) - 2 or not {"mean"} <= set(decoded) <= set(_DECODED):
            raise InputError(
                f"decode gives {len(found) - 2} outputs, which can't be {decoded}; decodes names "
                f"them, of {tuple(_DECODED)}, a mean among them"
            )
        program = program_from(whole, given)
    content, model = archived(program, {
        "in_keys": [name for name in INPUTS if name != "noise" or noise_size],
        "out_keys": ["encoded", "latent", *(_DECODED[name] for name in decoded)],
        **{f"{name}_size": each for name, each in sizes.items()},
        "latent_size": encoded.shape[1],
        "dtype": str(dtype).removeprefix("torch."),
        "env": described(env),
        "metadata": plain_data.plain(metadata or {}, "metadata"),
    })  # fmt: skip
    with torch.no_grad():
        latent = model.encode(x, noise)
        check_same(latent[:, : encoded.shape[1]], encoded)
        check_same(model.advance(latent, u, noise)[1].mean, found[2 + decoded.index("mean")])
    with whole_file(Path(path), f"the world model {path}", overwrite=overwrite) as file:
        file.write(content)


class _Whole(torch.nn.Module):
    """The three as one, of tensors in the order of :data:`INPUTS`."""

    def __init__(self, *parts: torch.nn.Module) -> None:
        super().__init__()
        self.encode, self.step, self.decode = parts

    def forward(
        self, observation: Tensor, latent: Tensor, action: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        drawn = () if noise is None else (noise,)
        after = self.step(latent, action, *drawn)
        decoded = self.decode(after)
        decoded = tuple(decoded) if isinstance(decoded, (tuple, list)) else (decoded,)
        return (self.encode(observation, *drawn), after, *decoded)
