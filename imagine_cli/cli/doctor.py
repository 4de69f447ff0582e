"""``imagine doctor``: what is installed, what it runs on, and whether it works."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from typing import TYPE_CHECKING

import typer

from imagine_cli.cli.console import answers
from imagine_cli.cli.options import Debug, Json
from imagine_cli.cli.tables import fact_table
from imagine_cli.threads import cores

if TYPE_CHECKING:
    from imagine_cli.self_test import Check


def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Say versions, devices and extras, and test that imagining works here, in some seconds.

    Exit status 1 where it doesn't.

    Example: imagine doctor
    """
    from imagine_cli.recording.schema import installed_versions

    versions = {**installed_versions(), "python": platform.python_version()}
    extras = {name: _missing(name) for name in _extras()}
    from imagine_cli.self_test import self_test

    devices = _devices()
    checks = list(self_test())
    if as_json:
        from imagine_cli.cli.inspect_document import as_json as json_text

        found = {
            "versions": versions,
            "devices": devices,
            "extras": {name: {"missing": missing} for name, missing in extras.items()},
            "checks": [check._asdict() for check in checks],
        }
        print(json_text(found))
    else:
        _show(versions, devices, extras, checks)
    if any(check.wrong for check in checks):
        raise typer.Exit(1)


def _show(
    versions: dict[str, str],
    devices: list[str],
    extras: dict[str, list[str]],
    checks: list[Check],
) -> None:
    facts = [
        ("with", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("on", f"{platform.platform()}: {', '.join(devices)}"),
        ("installed", " ".join(name for name, missing in extras.items() if not missing)),
    ]
    for name, missing in extras.items():
        if missing:
            line = f"pip install 'imagine-cli[{name}]'"
            facts.append(("not installed", f"{name}: {line} (lacks {', '.join(missing)})"))
    for check in checks:
        said = f"WRONG: {check.wrong}" if check.wrong else f"yes, {check.seconds:.1f} s"
        facts.append(("works", f"{check.what}: {said}"))
    answers().print(fact_table(facts))


def _extras() -> list[str]:
    named = metadata.metadata("imagine-cli").get_all("Provides-Extra") or []
    return [name for name in named if name != "dev"]


def _missing(extra: str, distribution: str = "imagine-cli") -> list[str]:
    """Distributions of an extra that aren't installed; their versions are pip's business."""
    marked = re.compile(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]")
    found = []
    for line in metadata.requires(distribution) or ():
        if not marked.search(line):
            continue
        name, extras = re.findall(r"^([\w.-]+)(?:\[([\w,-]+)\])?", line)[0]
        if _installed(name):
            found += [m for inner in extras.split(",") if inner for m in _missing(inner, name)]
        else:
            found.append(name)
    return found


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _devices() -> list[str]:
    import torch

    cuda = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return [f"{cores()} cores", *(f"cuda:{k} {name}" for k, name in enumerate(cuda))]
