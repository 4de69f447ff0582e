"""imagine_cli/cli/README.md has every command and every option, as they are."""

from __future__ import annotations

import re

from tests.helpers.options_page import PAGE, commands, with_tables

TEXT = PAGE.read_text(encoding="utf-8")


def test_every_command_has_a_section_and_a_table() -> None:
    assert re.findall(r"^## imagine (\w+)$", TEXT, re.M) == list(commands())
    assert re.findall(r"^<!-- options of (\w+) -->$", TEXT, re.M) == list(commands())


def test_the_tables_are_those_of_the_commands() -> None:
    made = with_tables(TEXT)
    assert made == TEXT, "run python -m tests.helpers.options_page"
    for name, command in commands().items():
        for parameter in command.params:
            assert parameter.help or parameter.name == "help", f"{name} {parameter.name}: no help"


def test_an_option_that_is_missing_from_the_page_is_put_there() -> None:
    short = re.sub(r"^\| `--steps`.*\n", "", TEXT, count=1, flags=re.M)
    assert short != TEXT
    assert with_tables(short) == TEXT
