"""``imagine convert``: somebody else's model as a checkpoint of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from imagine_cli.cli.completion import env_ids
from imagine_cli.cli.console import messages
from imagine_cli.cli.options import (
    Debug,
    EnvKwargs,
    Force,
    Json,
    NewCheckpoint,
    Quiet,
    check_output,
    check_there,
    parse_env_kwargs,
)
from imagine_cli.errors import InputError

_Number = TypeVar("_Number", int, float)


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="torchrl's GPWorldModel.state_dict() in a file, mbrl-lib's folder, a .pt2, or any "
            "module's state dict with --trust-code.",
        ),
    ],
    output: NewCheckpoint = Path("wm.pt"),
    env: Annotated[
        str | None,
        typer.Option(
            help="Gymnasium env id it is a model of, for the file to say.", autocompletion=env_ids
        ),
    ] = None,
    env_kwarg: EnvKwargs = None,
    inputs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="What the model takes, in its order, where its file doesn't say: observation, "
            "action, and noise where it makes samples of standard normal numbers.",
            show_default="observation,action",
        ),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="What it gives: mean or delta; var, std or logvar; reward; reward_var; _ for "
            "anything else.",
            show_default="mean",
        ),
    ] = None,
    trust_code: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CLASS",
            help="Whose state dict SOURCE is: imports it and makes one, which runs its code.",
        ),
    ] = None,
    process_noise: Annotated[
        str | None,
        typer.Option(
            metavar="SD,SD,...",
            help="Standard deviations that a deterministic model lacks; one number for all.",
            show_default="0",
        ),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="mbrl-lib's: relu, silu, leaky_relu or tanh.")
    ] = None,
    learned_rewards: Annotated[
        bool | None, typer.Option(help="mbrl-lib's: whether the last output is the reward.")
    ] = None,
    target_is_delta: Annotated[
        bool | None, typer.Option(help="mbrl-lib's: whether it predicts differences.")
    ] = None,
    no_delta: Annotated[
        str | None,
        typer.Option(
            metavar="K,K,...",
            help="mbrl-lib's: dimensions it predicts as they are all the same; '' for none.",
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a checkpoint of a model that another library made.

    Such models also go to --model as they are, and the checkpoint predicts the
    same to the bit; it is one file that says its env. Not so a program of
    torch.export that doesn't say what is what (--inputs, --outputs), and a
    state dict (--trust-code). The other library predicts the same but for
    rounding; the 1e-8 that torchrl adds to every variance is left out. Nothing
    in the source is run, but for what --trust-code names. What a model of
    mbrl-lib is comes from .hydra/config.yaml in its folder, and from the
    options where there is none.

    Example: imagine convert runs/pets -o wm.pt --env Pendulum-v1

    Example: imagine convert wm.pt2 -o wm.pt --process-noise 0.01,0.01,0.1

    Example: imagine convert net.pt2 -o wm.pt --outputs delta,logvar
    """
    check_there("model", source)
    check_output(output, force, source)
    sds = _numbers(process_noise, "--process-noise", "0.1,0.1,0.2", float)
    dimensions = [] if no_delta == "" else _numbers(no_delta, "--no-delta", "0,3", int)

    from imagine_cli.checkpoint import convert_world_model

    model = convert_world_model(
        source, output, env=env, env_kwargs=parse_env_kwargs(env_kwarg), process_noise=sds,
        inputs=None if inputs is None else inputs.split(","),
        outputs=None if outputs is None else outputs.split(","), trust_code=trust_code,
        activation=activation, learned_rewards=learned_rewards, target_is_delta=target_is_delta,
        no_delta=dimensions, overwrite=force,
    )  # fmt: skip
    if json:
        from imagine_cli.cli.inspect_document import as_json

        answer = {
            "path": str(output),
            "source": str(source),
            "model_kind": model.kind,
            "observation_size": model.observation_size,
            "action_size": model.action_size,
            "dtype": str(model.dtype).removeprefix("torch."),
            "has_reward": bool(model.has_reward),
        }
        print(as_json(answer))
        return
    print(output)
    if not quiet:
        messages().print(
            f"{source} is a model of kind {model.kind!r} now; look at it with: "
            f"imagine inspect {output}"
        )


def _numbers(
    text: str | None, option: str, example: str, kind: Callable[[str], _Number]
) -> list[_Number] | None:
    """``"1,2"`` -> ``[1, 2]``; InputError for anything else."""
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} {text!r} is not numbers, as in {option} {example}") from error
