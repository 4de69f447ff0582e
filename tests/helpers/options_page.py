"""The tables of options in imagine_cli/cli/README.md, made from the commands themselves.

``python -m tests.helpers.options_page`` writes them; what stands between them is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from imagine_cli.cli.app import app

__all__ = ["PAGE", "commands", "with_tables"]

PAGE = Path(__file__).parents[2] / "imagine_cli" / "cli" / "README.md"

_TABLE = re.compile(r"(<!-- options of (\w+) -->\n).*?(<!-- end -->)", re.S)


def commands() -> dict[str, Any]:
    """Every command of ``imagine`` by name, as click has it."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def with_tables(page: str) -> str:
    """``page`` with each ``<!-- options of COMMAND -->`` followed by that command's table."""
    known = commands()
    return _TABLE.sub(lambda found: f"{found[1]}\n{_table(known[found[2]])}\n{found[3]}", page)


def _table(command: Any) -> str:
    rows = ["| option | meaning | default |", "|---|---|---|"]
    for parameter in command.params:
        if parameter.name == "help" or getattr(parameter, "hidden", False):
            continue
        cells = (_names(parameter), parameter.help or "", _default(parameter))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=len)
    return ", ".join(f"`{name}`" for name in names)


def _default(parameter: Any) -> str:
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str):
        return shown
    if parameter.required:
        return "needed"
    default = parameter.default
    if isinstance(default, bool):
        return "on" if default else "off"
    return "" if default is None or default == () else f"`{default}`"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
