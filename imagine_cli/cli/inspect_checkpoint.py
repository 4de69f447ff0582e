"""``imagine inspect`` of a world-model checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_cli.cli.console import answers
from imagine_cli.cli.tables import (
    bytes_text,
    fact_table,
    number_table,
    plural,
    printable,
    significant,
    times,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["checkpoint_document", "inspect_checkpoint"]

_LONGEST_LIST = 12
_SCORE_NAMES = {"rmse": "RMSE", "nll": "NLL (nats)", "coverage_95": "in 95 % interval"}


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
    from imagine_cli.checkpoint import checkpoint_files, load_world_model, read_checkpoint
    from imagine_cli.propagation import fitting

    checkpoint = read_checkpoint(path)
    model = load_world_model(path)
    return {
        "kind": "checkpoint",
        "file": str(path),
        "bytes": sum(file.stat().st_size for file in checkpoint_files(path)),
        "model_kind": checkpoint.kind,
        "observation_size": model.observation_size,
        "action_size": model.action_size,
        "dtype": str(model.dtype).removeprefix("torch."),
        "has_reward": bool(model.has_reward),
        "propagations": sorted(fitting(model), key=lambda name: name != model.propagation),
        "model": dict(model.describe()),
        "env": dict(checkpoint.env),
        "metadata": dict(checkpoint.metadata),
    }


def _print(console: Console, document: dict[str, Any]) -> None:
    env, metadata = document["env"], dict(document["metadata"])
    sizes = (
        f"{plural(document['observation_size'], 'observation')}, "
        f"{plural(document['action_size'], 'action')}, "
        f"{'with' if document['has_reward'] else 'no'} reward, {document['dtype']}"
    )
    scores = metadata.pop("held_out_scores", None)
    data = metadata.pop("data", None)
    for repeated in ("env", "env_kwargs", "kind"):
        metadata.pop(repeated, None)
    facts = [
        ("checkpoint", f"{document['file']}, {bytes_text(document['bytes'])}"),
        ("kind", str(document["model_kind"])),
        ("sizes", sizes),
        ("propagation", _propagations(document["propagations"])),
        ("env", _env(env)),
        ("observed", ", ".join(map(str, env.get("observation_names", []))) or "not said"),
    ]
    console.print(fact_table(facts))
    sections = {"Model": document["model"], "Fitted": metadata}
    for title, section in sections.items():
        if section:
            console.print(f"\n{title}", style="bold")
            console.print(fact_table(list(_lines(section))))
    if data:
        console.print("\nFitted to", style="bold")
        console.print(fact_table(list(_sources(data))))
    if scores:
        console.print("\nOn transitions held out, one step ahead", style="bold")
        table = _score_table(scores) if isinstance(scores, dict) else None
        console.print(table or fact_table(list(_lines({"scores": scores}))))
    for title, table in _further_ahead(scores):
        console.print(f"\n{printable(title)}", style="bold", markup=False)
        if table is not None:
            console.print(table)


def _sources(data: Any) -> Iterator[tuple[str, str]]:
    """A label and a line for each file that was fitted to."""
    for source in _listed(data) or [data]:
        if not isinstance(source, dict):
            yield "data", _value(source)
            continue
        known = [
            str(source.get("path", "not said")),
            *(f"{source[key]} {key}" for key in ("transitions", "episodes") if source.get(key)),
            *([f"sha256 {str(source['sha256'])[:12]}"] if source.get("sha256") else []),
        ]
        yield str(source.get("format", "data")), ", ".join(known)


def _further_ahead(scores: Any) -> Iterator[tuple[str, Table | None]]:
    """A title and a table for each horizon after the first, and the reasons for those without."""
    horizons = scores.get("horizons") if isinstance(scores, dict) else None
    if not isinstance(horizons, dict):
        return
    for entry in _listed(horizons.get("ahead")):
        if isinstance(entry, dict) and isinstance(entry.get("steps"), int) and entry["steps"] > 1:
            named = {**entry, "observation_names": scores.get("observation_names")}
            title = f"{entry['steps']} steps ahead, {times(entry.get('transitions'))}, by "
            yield title + str(horizons.get("propagation")), _score_table(named)
    for sentence in _listed(horizons.get("left_out")):
        yield str(sentence), None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _propagations(names: list[str]) -> str:
    default, *others = names
    return f"{default} (the default), {', '.join(others)}" if others else default


def _env(env: dict[str, Any]) -> str:
    kwargs = env.get("kwargs") or {}
    arguments = ", ".join(f"{key}={value!r}" for key, value in kwargs.items())
    return f"{env.get('id', 'not said')} {arguments}".rstrip()


def _lines(section: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A label and a value for each entry; of deeper ones only that --json has them."""
    deeper = []
    for key, value in section.items():
        label = str(key).replace("_", " ")
        if not isinstance(value, dict):
            yield label, _value(value)
        elif all(isinstance(item, str) for item in value.values()):
            yield label, ", ".join(f"{name} {text}" for name, text in value.items()) or "none"
        else:
            deeper.append(label)
    if deeper:
        yield "with --json", ", ".join(deeper)


def _score_table(scores: dict[str, Any]) -> Table | None:
    """A row for each dimension, where the scores are lists with one number for each."""
    names = scores.get("observation_names")
    if not isinstance(names, list):
        return None
    overall = scores.get("overall", {})
    columns = {
        key: values
        for key, values in scores.items()
        if key != "observation_names" and isinstance(values, list) and len(values) == len(names)
    }
    if not columns:
        return None
    rows = [
        [str(name), *(_score(key, values[d]) for key, values in columns.items())]
        for d, name in enumerate(names)
    ]
    for name, some in (("all", overall), ("reward", scores.get("reward"))):
        if isinstance(some, dict) and set(columns) <= set(some):
            rows.append([name, *(_score(key, some[key]) for key in columns)])
    headings = [_SCORE_NAMES.get(key, key.replace("_", " ")) for key in columns]
    return number_table(["", *headings], rows)


def _score(key: str, value: Any) -> str:
    if not isinstance(value, int | float):
        return _value(value)
    return f"{value:.1%}" if key.startswith("coverage") else significant(float(value))


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        shown = ", ".join(_value(item) for item in value[:_LONGEST_LIST])
        rest = len(value) - _LONGEST_LIST
        return f"[{shown}, and {rest} more]" if rest > 0 else f"[{shown}]"
    return "none" if value is None else str(value)
