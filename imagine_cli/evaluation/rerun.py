"""A rollout run again from what its file says of itself, and compared with it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_cli.environments import env_named, kwargs_named
from imagine_cli.errors import InputError
from imagine_cli.evaluation.compare import Comparison, compare_rollouts
from imagine_cli.files.digest import sha256_of
from imagine_cli.recording import open_rollout
from imagine_cli.registry import POLICIES, REWARDS, Registry, is_users_own
from imagine_cli.request import RolloutRequest

if TYPE_CHECKING:
    import torch

    from imagine_cli.belief import Belief


def rerun_rollout(
    path: str | Path,
    *,
    output: str | Path | None = None,
    model: str | Path | torch.nn.Module | None = None,
    env_id: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    policy: str | None = None,
    reward: str | None = None,
    overwrite: bool = False,
    trust_pickle: bool = False,
    command: str = "imagine_cli.rerun_rollout",
    on_step: Callable[[int, Belief], None] | None = None,
) -> Comparison:
    """Run a rollout again with the arguments that its file keeps: whether it came out the same.

    Args:
        path: the rollout file.
        output: where the new one goes; it is removed again if None.
        model: the world model, where it is no longer at the path it was at, or never was a file.
        env_id: the env, where its id imports a module (``module:Id``), which a file can't have
            done.
        env_kwargs: those of its arguments that are paths, which a file can't have opened.
        policy, reward: those that are of a module.
        overwrite: replace a file that is at ``output``.
        trust_pickle: load a pickled model, whatever the file says; see :func:`run_rollout`.
        command: what the new file says made it.
        on_step: see :func:`run_rollout`.

    Returns:
        The comparison of both files; where their headers differ (versions) is in its notes.

    Raises:
        InputError: a file that does not say how it was made, is incomplete, or was made from a
            model or other files that are not there any more or not the same, or whose SHA-256 it
            does not have: what a file names is opened for no other reason.
        ImagineError: the rollout failed.
    """
    from imagine_cli.rollout import run_rollout

    path = Path(path)
    request, attributes = _read(path)
    found = _model(path, attributes, model)
    try:
        files = dict(json.loads(attributes.get("files_sha256", "{}")))
    except (RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its attribute files_sha256 is not a JSON object") from error
    acts = _named(path, "policy", request.policy, policy, POLICIES)
    request = replace(
        request,
        env=env_named(request.env, path, env_id),
        env_kwargs=kwargs_named(request.env_kwargs, path, env_kwargs),
        reward=_named(path, "reward", request.reward, reward, REWARDS),
        model=str(found) if isinstance(found, Path) else "",
        policy=_same_file(path, acts, files),
        start=_same_file(path, request.start, files),
    )
    if output is not None and os.path.realpath(output) == os.path.realpath(path):
        raise InputError(f"{output} is the rollout that is run again; name another output")
    with tempfile.TemporaryDirectory(prefix="imagine-rerun-") as folder:
        again = Path(folder) / "again.h5" if output is None else output
        run_rollout(
            request, found, output=again, overwrite=overwrite, trust_pickle=trust_pickle,
            command=command, on_step=on_step,
        )  # fmt: skip
        comparison = compare_rollouts(path, again)
    if output is None:
        comparison.b = Path("the one run again")
    return comparison


def _read(path: Path) -> tuple[RolloutRequest, dict[str, Any]]:
    with open_rollout(path) as rollout:
        attributes, complete = dict(rollout.attributes), rollout.complete
    if "arguments" not in attributes:
        how = "a real run" if attributes.get("real") else "made by something else"
        raise InputError(
            f"{path} can't be run again: it is {how}, not written by imagine rollout, and does "
            "not say how it was made"
        )
    if complete is False:
        raise InputError(
            f"{path} is incomplete; go on with it first, with imagine rollout ... --resume"
        )
    return RolloutRequest.from_json(attributes["arguments"], path), attributes


def _model(path: Path, attributes: dict[str, Any], given: Any) -> Any:
    said, digest = str(attributes.get("model_path", "")), str(attributes.get("model_sha256", ""))
    if given is not None and not isinstance(given, (str, Path)):
        return given
    if given is None and not said:
        raise InputError(
            f"{path} was made from a model that is no file; give it to "
            "imagine_cli.rerun_rollout(path, model=...)"
        )
    found = Path(given) if given is not None else _beside(path, said)
    if not found.exists():
        raise InputError(f"the model {found} of {path} is not there; say where with --model")
    if given is None and not digest:
        raise InputError(
            f"{path} has no SHA-256 of its model {found}; if that may be opened, give --model"
        )
    from imagine_cli.checkpoint import checkpoint_files

    parts = checkpoint_files(found)
    if not all(part.is_file() for part in parts):
        raise InputError(f"the model {found} of {path} is not a regular file")
    now = sha256_of(*parts)
    if digest and now != digest:
        raise InputError(
            f"{found} is not the model that {path} was made from: its SHA-256 is "
            f"{now[:12]}..., not {digest[:12]}...; say where that one is with --model"
        )
    return found


def _named(path: Path, what: str, said: str | None, given: str | None, known: Registry) -> Any:
    """What the file has ``said``; of a module only where it is ``given`` too."""
    own = said is not None and is_users_own(said) and said.partition(":")[0] not in known
    if given is None and own:
        raise InputError(
            f"{path} names a module to import for its {what}, {said!r}; if that may run, give "
            f"--{what} {said}"
        )
    if given is not None and given != said:
        raise InputError(f"{path} was made with the {what} {said!r}, not {given!r}")
    return said


def _same_file(path: Path, spec: str, files: dict[str, Any]) -> str:
    """``spec``, or where the file of that name is; as it was."""
    if spec not in files:
        if os.path.lexists(spec) and not os.path.isdir(spec):
            raise InputError(
                f"{path} names the file {spec!r} and not its SHA-256, so that it is not opened; "
                "run it again with imagine rollout"
            )
        return spec
    found = _beside(path, spec)
    if not found.is_file():
        raise InputError(f"{spec}, which {path} was made with, is not there any more")
    if sha256_of(found) != files[spec]:
        raise InputError(f"{spec} is not what {path} was made with: its SHA-256 has changed")
    return str(found)


def _beside(path: Path, name: str) -> Path:
    """A file of that name: from here, else from the folder of the rollout."""
    other = path.parent / name
    return other if not os.path.exists(name) and other.exists() else Path(name)
