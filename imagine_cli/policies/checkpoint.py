"""Policy checkpoints: one ``torch.save`` of plain data, so that nothing in it can run.

``{"format": "imagine-policy", "version": 1, "kind": str, "config": {...}, "state_dict": {...},
"env": {...}, "metadata": {...}}``, the last two optional. The state dict of torchrl's
RBFController, saved as it is, is read too, and so are zips of Stable-Baselines3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.files import plain_data
from imagine_cli.policies import stable_baselines
from imagine_cli.policies.actions import sizes
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.parametric import ParametricPolicy
from imagine_cli.policies.registry import kind_named

FORMAT = "imagine-policy"
VERSION = 1

_RBF_CONTROLLER = {"centers", "weights", "lengthscales"}


def load_policy(
    path: str | os.PathLike[str],
    env: EnvDescription,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> ParametricPolicy:
    """The policy in a checkpoint, for ``env``, with parameters of ``dtype`` on ``device``.

    A zip of Stable-Baselines3 becomes an MLPPolicy that acts as ``predict(deterministic=True)``.
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
    plain_data.check_tensors(state, path, "policy")
    _check_sizes(path, content.get("env"), env)
    try:
        policy = cls.from_config(config, state, env)
    except InputError as error:
        raise InputError(f"the policy {path} doesn't fit: {error} ({sizes(env)})") from error
    policy.name = str(path)
    policy.to(device=device, dtype=dtype)
    return policy


def describe_policy(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a checkpoint says of itself, for any env: plain data.

    ``kind``, ``config``, ``parameters`` (the shape of each), ``env`` and ``metadata``.

    Raises InputError as :func:`load_policy`.
    """
    content = _read(Path(path))
    kind, config, state = _parts(Path(path), content)
    plain_data.check_tensors(state, Path(path), "policy")
    return {
        "kind": kind,
        "config": config,
        "parameters": {name: list(tensor.shape) for name, tensor in state.items()},
        **{name: _dict(content.get(name)) for name in ("env", "metadata")},
    }


def is_policy(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is a policy checkpoint."""
    try:
        return _read(Path(path)).get("format") == FORMAT
    except InputError:
        return False


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
    state = {name: value.detach().cpu().clone() for name, value in policy.state_dict().items()}
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "kind": policy.kind,
        "config": policy.config(),
        "state_dict": state,
        "metadata": plain_data.plain(metadata or {}, "metadata"),
    }
    if env is not None:
        content["env"] = {
            "id": env.id,
            "kwargs": plain_data.plain(env.kwargs, "the env's arguments"),
            "observation_names": list(env.observation_names),
            "observation_size": env.observation_size,
            "action_size": env.action_size,
        }
    plain_data.write(content, Path(path), "policy", overwrite=overwrite)


def make(argument: str, context: PolicyContext) -> ParametricPolicy:
    """A path ending in .pt, .pth or .zip."""
    return load_policy(argument, context.env, dtype=context.dtype, device=context.device)


def _read(path: Path) -> dict[Any, Any]:
    if stable_baselines.is_zip(path):
        return {"format": FORMAT, "version": VERSION, **stable_baselines.read(path)}
    content = plain_data.read(
        path, "policy", instead="save it as plain data with imagine_cli.policies.save_policy"
    )
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not a policy checkpoint")
    return content


def _parts(path: Path, content: Mapping[Any, Any]) -> tuple[str, dict[str, Any], Mapping[Any, Any]]:
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
    for key, of in {"kind": str, "config": dict, "state_dict": dict}.items():
        if not isinstance(content.get(key), of):
            raise InputError(f"the policy {path} lacks its {key!r}")
    return content["kind"], content["config"], content["state_dict"]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _check_sizes(path: Path, made_for: object, env: EnvDescription) -> None:
    if not isinstance(made_for, dict):
        return
    if made_for.get("discrete", env.is_discrete) != env.is_discrete:
        taken = ("continuous", "discrete")
        raise InputError(
            f"the policy {path} gives {taken[not env.is_discrete]} actions, but those of env "
            f"{env.id!r} are {taken[env.is_discrete]}"
        )
    listed = made_for.get("observation_size"), made_for.get("action_size")
    for size, have in zip(listed, (env.observation_size, env.action_size), strict=True):
        if type(size) is int and size != have:
            raise InputError(
                f"the policy {path} was made for env {made_for.get('id')!r} with D = {listed[0]} "
                f"and F = {listed[1]}, but {sizes(env)}"
            )
