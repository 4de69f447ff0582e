"""``imagine convert`` as one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_cli.checkpoint import mbrl_lib
from imagine_cli.checkpoint.format import Checkpoint
from imagine_cli.checkpoint.mbrl_config import Told
from imagine_cli.checkpoint.pt2 import is_archive, read_archive
from imagine_cli.checkpoint.reader import read_checkpoint
from imagine_cli.checkpoint.trusted_code import read_state_dict
from imagine_cli.checkpoint.writer import save_world_model
from imagine_cli.environments import EnvDescription, describe_named
from imagine_cli.errors import InputError
from imagine_cli.world_models.signature import Signature

if TYPE_CHECKING:
    from imagine_cli.world_models import WorldModel


def convert_world_model(
    source: str | Path,
    output: str | Path,
    *,
    env: str | EnvDescription | None = None,
    env_kwargs: dict[str, Any] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    trust_code: str | None = None,
    process_noise: Sequence[float] | None = None,
    activation: str | None = None,
    learned_rewards: bool | None = None,
    target_is_delta: bool | None = None,
    no_delta: Sequence[int] | None = None,
    overwrite: bool = False,
) -> WorldModel:
    """Make a checkpoint of ours from somebody else's.

    It predicts to the bit what the source predicts when it is loaded as it is. The library that
    made it predicts the same but for rounding; the 1e-8 that torchrl adds to every variance is
    left out.

    Args:
        source: a torchrl ``GPWorldModel.state_dict()`` in a file, a folder with a model of
            mbrl-lib, an exported program, or a checkpoint of ours.
        output: the file.
        env: the env it is a model of, or its id, to be recorded in the file.
        env_kwargs: arguments for the env, where ``env`` is an id.
        inputs: what the inputs of a program of ``torch.export`` are that doesn't say so, in their
            order: ``"observation"`` and ``"action"`` (if None), and ``"noise"``, standard normal
            numbers, where what it gives is a sample.
        outputs: and its outputs: ``"mean"`` (if None) or ``"delta"``, ``"var"``, ``"std"`` or
            ``"logvar"``, ``"reward"``, ``"reward_var"``, and ``"_"`` for any other.
        trust_code: ``"module:Class"``, whose code is run, to make the module that a state dict is
            of; then ``inputs`` and ``outputs`` are the module's.
        process_noise: standard deviations ``(D,)``, or one for all, of what comes to the next
            observation of a deterministic model, which has none of its own.
        activation, learned_rewards, target_is_delta, no_delta: of a model of mbrl-lib, where its
            folder has no config or another one is meant.
        overwrite: replace a file that is there.

    Returns:
        The model that was written.

    Raises:
        InputError: a source that can't be read, an output that mustn't be written, an env of
            other sizes, or noise for a model that has its own.
        ImagineError: the disk refused.
    """
    kept = None if no_delta is None else tuple(no_delta)
    told = Told(activation, learned_rewards, target_is_delta, kept)
    signature = Signature.told(inputs, outputs)
    if trust_code is None and signature is not None and not is_archive(Path(source)):
        raise InputError(
            f"{source} is no program of torch.export, and only of one can its inputs and outputs "
            "be told"
        )
    if trust_code is None and mbrl_lib.is_folder(Path(source)):
        checkpoint = mbrl_lib.read_folder(Path(source), told)
    elif told != Told():
        raise InputError(f"{source} is no folder of mbrl-lib, and only of one can that be told")
    elif trust_code is not None:
        checkpoint = read_state_dict(Path(source), trust_code, env, env_kwargs, signature)
    elif signature is not None:
        checkpoint = read_archive(Path(source), signature)
    else:
        checkpoint = read_checkpoint(source)
    model = _made(checkpoint, source)
    if process_noise is not None:
        if not getattr(model, "deterministic", False):
            raise InputError(
                f"process_noise is for deterministic models, and {source} is a model of kind "
                f"{model.kind!r} that gives variances of its own"
            )
        many = model.observation_size if len(process_noise) == 1 else 1
        noise = [float(sd) for sd in process_noise] * many
        model = _made(checkpoint, source, process_noise=noise)
    foreign = checkpoint.source != "imagine"
    save_world_model(
        model,
        output,
        env=checkpoint.env if env is None else _env_of(env, env_kwargs, model, source),
        metadata=checkpoint.metadata | ({"converted_from": checkpoint.source} if foreign else {}),
        overwrite=overwrite,
    )
    return model


def _made(checkpoint: Checkpoint, source: str | Path, **changes: Any) -> WorldModel:
    try:
        return checkpoint.model(**changes)
    except InputError as error:
        raise InputError(f"{source} can't be converted: {error}") from error


def _env_of(
    env: str | EnvDescription, kwargs: dict[str, Any] | None, model: WorldModel, source: str | Path
) -> EnvDescription:
    """The env's description, once it is known to be of the model's sizes."""
    if isinstance(env, str):
        env = describe_named(env, kwargs)
    if (env.observation_size, env.action_size) != (model.observation_size, model.action_size):
        raise InputError(
            f"{source} is for {model.observation_size} observations and {model.action_size} "
            f"actions, and {env.id} has {env.observation_size} and {env.action_size}"
        )
    return env
