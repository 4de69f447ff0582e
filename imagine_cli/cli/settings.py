"""Options that need not be typed: of a TOML file and of IMAGINE_* variables.

A file has options of all commands at its top, and those of one command in a table of its name.
``IMAGINE_SEED`` is the same in the environment, and ``IMAGINE_ROLLOUT_SEED`` that of one command.
The environment goes over the file, a command's own over what all have, and what is typed over all.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from typer.core import TyperGroup

from imagine_cli.errors import InputError

_PREFIX = "IMAGINE_"

_NOT_SET = {"help", "debug"}

_FLAGS = {"1": True, "true": True, "0": False, "false": False}


class Setting(NamedTuple):
    """A value, or a list of what is repeatable, and what says so: a file or a variable."""

    value: Any
    source: str


class Commands(TyperGroup):
    """Puts the settings of a command before what is typed, so that they are read alike."""

    typed: Sequence[str] = ()
    """The command that runs, with its settings."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None and not ctx.resilient_parsing:
            settings = read_settings(ctx.params.get("_config"), self.commands)
            rest = [*_arguments(options(command), settings[name], rest), *rest]
            Commands.typed = (name, *rest)
        return name, command, rest


def command_line() -> str:
    """The command as it could have been typed, for files to say what made them."""
    return shlex.join(["imagine", *Commands.typed])


def options(command: Any) -> dict[str, Any]:
    """The options of one of Click's commands by their long names, without the dashes."""
    return {
        max(option.opts, key=len).lstrip("-"): option
        for option in command.params
        if option.param_type_name == "option" and option.name not in _NOT_SET
    }


def read_settings(
    config: Path | None, commands: Mapping[str, Any]
) -> dict[str, dict[str, Setting]]:
    """The settings of each command, by options' long names.

    Raises InputError where the file can't be read, or names what imagine doesn't have.
    """
    found: dict[str, dict[str, Setting]] = {name: {} for name in commands}
    if config is not None:
        for command, name, value in _of_file(config, commands):
            found[command][name] = Setting(value, str(config))
    for command, name, variable in _variables(commands):
        if variable in os.environ:
            text, option = os.environ[variable], options(commands[command])[name]
            value = shlex.split(text) if option.multiple else text
            value = _FLAGS.get(text.lower(), text) if option.is_flag else value
            found[command][name] = Setting(_checked(value, option, variable), variable)
    return found


def _of_file(config: Path, commands: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Command, option and value: first those at the top."""
    read = _read(config)
    for key, value in read.items():
        if isinstance(value, dict):
            continue
        having = [command for command, it in commands.items() if key in options(it)]
        if not having:
            raise InputError(f"{config}: no command has an option {key!r}")
        for command in having:
            yield command, key, _checked(value, options(commands[command])[key], f"{config}: {key}")
    for command, table in read.items():
        if not isinstance(table, dict):
            continue
        if command not in commands:
            raise InputError(f"{config}: there is no command {command!r}")
        known = options(commands[command])
        for name, value in table.items():
            if name not in known:
                raise InputError(f"{config}: imagine {command} has no option {name!r}")
            yield command, name, _checked(value, known[name], f"{config}: {name}")


def _read(config: Path) -> dict[str, Any]:
    try:
        toml = import_module("tomllib")
    except ImportError:  # Python 3.10
        raise InputError(f"{config} can't be read: TOML needs Python 3.11 or newer") from None
    try:
        read: dict[str, Any] = toml.loads(config.read_text(encoding="utf-8"))
        return read
    except OSError as error:
        raise InputError(f"{config} can't be read: {os.strerror(error.errno or 0)}") from error
    except ValueError as error:
        raise InputError(f"{config} is no TOML: {error}") from error


def _checked(value: Any, option: Any, where: str) -> Any:
    if option.is_flag:
        kind, fits = "true or false", isinstance(value, bool)
    elif option.multiple:
        kind, fits = "a list", isinstance(value, list)
    else:
        kind, fits = "a number or a string", not isinstance(value, bool | list | dict)
    if not fits:
        raise InputError(f"{where} is {value!r}; it must be {kind}")
    return value


def _variables(commands: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Command, option and the variable that sets it: first those that set it for all."""
    for own in (False, True):
        for command, it in commands.items():
            prefix = f"{_PREFIX}{command.upper()}_" if own else _PREFIX
            for name in options(it):
                yield command, name, prefix + name.upper().replace("-", "_")


def _arguments(
    known: Mapping[str, Any], settings: Mapping[str, Setting], typed: Sequence[str]
) -> Iterator[str]:
    """The settings as they would be typed, of options that aren't ``typed``."""
    begun = {argument.partition("=")[0] for argument in typed}
    for name, setting in settings.items():
        option = known[name]
        if begun & {*option.opts, *option.secondary_opts}:
            continue
        if option.is_flag:
            yield from [f"--{name}"] if setting.value else option.secondary_opts
            continue
        for value in setting.value if option.multiple else [setting.value]:
            yield from (f"--{name}", str(value))
