"""``imagine config``: what need not be typed, and where it is said."""

from __future__ import annotations

from typing import Annotated

import typer

from imagine_cli.cli.console import answers
from imagine_cli.cli.options import Json
from imagine_cli.cli.settings import options, read_settings
from imagine_cli.cli.tables import number_table
from imagine_cli.errors import InputError


def config(
    context: typer.Context,
    command: Annotated[
        str | None,
        typer.Argument(
            metavar="[COMMAND]",
            help="All options of this command, defaults too.",
            show_default="what is set of any command",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the options that a --config file and IMAGINE_* variables set, and which of both.

    Example: IMAGINE_SEED=3 imagine config rollout
    """
    root = context.find_root()
    commands = root.command.commands  # type: ignore[attr-defined]
    if command is not None and command not in commands:
        raise InputError(f"imagine has no command {command!r}; see imagine --help")
    settings = read_settings(root.params.get("_config"), commands)
    rows = []
    for name in commands if command is None else [command]:
        for option, it in options(commands[name]).items():
            if option in settings[name]:
                rows.append((name, option, *settings[name][option]))
            elif command is not None:
                shown = it.show_default if isinstance(it.show_default, str) else it.default
                rows.append((name, option, shown, "needed" if it.required else "default"))
    if as_json:
        from imagine_cli.cli.inspect_document import as_json as json_text

        keys = ("command", "option", "value", "from")
        print(json_text({"settings": [dict(zip(keys, row, strict=True)) for row in rows]}))
    elif rows:
        cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
        answers().print(number_table(["command", "option", "value", "from"], cells, left=4))
    else:
        print("nothing is set; see imagine --help for --config")
