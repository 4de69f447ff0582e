"""``imagine inspect`` of a world-model checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_cli.cli.console import answers
from imagine_cli.cli.tables import bytes_text, fact_table, plural, significant

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["checkpoint_document", "inspect_checkpoint"]

_LONGEST_LIST = 12


def inspect_checkpoint(path: Path, *, json: bool) -> None:
    """Print what ``imagine inspect`` prints of the checkpoint at ``path``. Raises InputError."""
    document = checkpoint_document(path)
    if json:
        from imagine_cli.cli.inspect_document import as_json

        print(as_json(document))
        return
    _print(answers(), document)


def checkpoint_document(path: Path) -> dict[str, Any]:
    """What ``--json`` prints.

    ::

        {"kind": "checkpoint", "file": str, "bytes": int, "model_kind": str,
         "observation_size": D, "action_size": F, "dtype": str, "has_reward": bool,
         "propagations": [str],   those that fit, the default one first
         "model": {...},     what the kind says of itself
         "env": {...},       id, kwargs, observation_names, ...
         "metadata": {...}}  how it was fitted, on what, with which scores
    """
    from imagine_cli.checkpoint import load_world_model, read_checkpoint

    checkpoint = read_checkpoint(path)
    model = load_world_model(path)
    return {
        "kind": "checkpoint",
        "file": str(path),
        "bytes": path.stat().st_size,
        "model_kind": checkpoint.kind,
        "observation_size": model.observation_size,
        "action_size": model.action_size,
        "dtype": str(model.dtype).removeprefix("torch."),
        "has_reward": bool(model.has_reward),
        "propagations": sorted(model.propagations, key=lambda name: name != model.propagation),
        "model": dict(model.describe()),
        "env": dict(checkpoint.env),
        "metadata": dict(checkpoint.metadata),
    }


def _print(console: Console, document: dict[str, Any]) -> None:
    sizes = (
        f"{plural(document['observation_size'], 'observation')}, "
        f"{plural(document['action_size'], 'action')}, "
        f"{'with' if document['has_reward'] else 'no'} reward, {document['dtype']}"
    )
    facts = [
        ("checkpoint", f"{document['file']}, {bytes_text(document['bytes'])}"),
        ("kind", str(document["model_kind"])),
        ("sizes", sizes),
        ("propagation", _propagations(document["propagations"])),
    ]
    console.print(fact_table(facts))
    for title in ("env", "model", "metadata"):
        lines = list(_lines(document[title]))
        if lines:
            console.print()
            console.print(title, style="bold")
            console.print(fact_table(lines))


def _propagations(names: list[str]) -> str:
    default, *others = names
    return f"{default} (the default), {', '.join(others)}" if others else default


def _lines(section: dict[str, Any], indent: str = "") -> Iterator[tuple[str, str]]:
    """A label and a value for each entry; entries of an entry come below it, indented."""
    for key, value in section.items():
        label = indent + str(key).replace("_", " ")
        if isinstance(value, dict) and value:
            yield label, ""
            yield from _lines(value, indent + "  ")
        else:
            yield label, _value(value)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return significant(value, 4)
    if isinstance(value, dict):
        return "none"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        shown = ", ".join(_value(item) for item in value[:_LONGEST_LIST])
        rest = len(value) - _LONGEST_LIST
        return f"[{shown}, and {rest} more]" if rest > 0 else f"[{shown}]"
    return "none" if value is None else str(value)
