"""``imagine inspect`` of a world-model or a policy checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_cli.cli.console import answers
from imagine_cli.cli.tables import (
    MOST_DIMENSIONS,
    bytes_text,
    chosen,
    fact_table,
    number_table,
    plural,
    significant,
    times,
)
from imagine_cli.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

_LONGEST_LIST = 12
_SCORE_NAMES = {"rmse": "RMSE", "nll": "NLL (nats)", "coverage_95": "in 95 % interval"}


def inspect_checkpoint(path: Path, *, json: bool) -> None:
    """Print what ``imagine inspect`` prints of the checkpoint at ``path``. Raises InputError."""
    from imagine_cli.policies.checkpoint import is_policy

    policy = path.is_file() and is_policy(path)
    document = policy_document(path) if policy else checkpoint_document(path)
    if json:
        from imagine_cli.cli.inspect_document import as_json

        print(as_json(document))
        return
    console = answers()
    for title, shown in (_policy_sections if policy else _sections)(document):
        if title:
            console.print(f"\n{printable(title)}", style="bold", markup=False)
        if shown is not None:
            console.print(shown)


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
    error = model.model_error
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
        "model": {**model.describe(), **({} if error is None else error.describe())},
        "env": dict(checkpoint.env),
        "metadata": dict(checkpoint.metadata),
    }


def policy_document(path: Path) -> dict[str, Any]:
    """What ``--json`` prints of a policy: ``"kind": "policy"``, ``file``, ``bytes``,
    ``policy_kind``, ``config``, ``parameters`` (their shapes), ``env`` and ``metadata``."""
    from imagine_cli.policies.checkpoint import describe_policy

    found = describe_policy(path)
    kind = found.pop("kind")
    size = path.stat().st_size
    return {"kind": "policy", "file": str(path), "bytes": size, "policy_kind": kind, **found}


def _policy_sections(document: dict[str, Any]) -> Iterator[tuple[str, Table | None]]:
    env, metadata = document["env"], dict(document["metadata"])
    curve = metadata.pop("curve", None)
    shapes = (f"{name} {tuple(shape)}" for name, shape in document["parameters"].items())
    facts = [
        ("policy", f"{document['file']}, {bytes_text(document['bytes'])}"),
        ("kind", str(document["policy_kind"])),
        ("parameters", ", ".join(shapes)),
        *_lines(document["config"]),
        ("env", str(env.get("id", "not said"))),
    ]
    yield "", fact_table(facts)
    if metadata:
        yield "Searched for", fact_table(list(_lines(metadata)))
    returns = [point["imagined_return"] for point in _listed(curve) if isinstance(point, dict)]
    if len(returns) > 1:
        yield f"Imagined return: {returns[0]:.6g} to {max(returns):.6g}", None


def _sections(document: dict[str, Any]) -> Iterator[tuple[str, Table | None]]:
    """Titles, and what is below them."""
    env, metadata = document["env"], dict(document["metadata"])
    scores = metadata.pop("held_out_scores", None)
    data = metadata.pop("data", None)
    for repeated in ("env", "env_kwargs", "kind"):
        metadata.pop(repeated, None)
    sizes = (
        f"{plural(document['observation_size'], 'observation')}, "
        f"{plural(document['action_size'], 'action')}, "
        f"{'with' if document['has_reward'] else 'no'} reward, {document['dtype']}"
    )
    default, *others = document["propagations"]
    kwargs = [f"{key}={value!r}" for key, value in (env.get("kwargs") or {}).items()]
    facts = [
        ("checkpoint", f"{document['file']}, {bytes_text(document['bytes'])}"),
        ("kind", str(document["model_kind"])),
        ("sizes", sizes),
        ("propagation", ", ".join([f"{default} (the default)" if others else default, *others])),
        ("env", f"{env.get('id', 'not said')} {', '.join(kwargs)}".rstrip()),
        ("observed", _names(env.get("observation_names", []))),
    ]
    yield "", fact_table(facts)
    for title, section in (("Model", document["model"]), ("Fitted", metadata)):
        if section:
            yield title, fact_table(list(_lines(section)))
    if data:
        yield "Fitted to", fact_table([_source(each) for each in _listed(data) or [data]])
    if scores:
        table = _score_table(scores) if isinstance(scores, dict) else None
        table = table or fact_table(list(_lines({"scores": scores})))
        yield "On transitions held out, one step ahead", table
    yield from _further_ahead(scores)


def _names(names: list[Any]) -> str:
    rest = [f"and {len(names) - 10} more"] if len(names) > MOST_DIMENSIONS else []
    return ", ".join([*map(str, names[:10] if rest else names), *rest]) or "not said"


def _source(source: Any) -> tuple[str, str]:
    """A label and a line for a file that was fitted to."""
    if not isinstance(source, dict):
        return "data", _value(source)
    known = [
        str(source.get("path", "not said")),
        *(f"{source[key]} {key}" for key in ("transitions", "episodes") if source.get(key)),
        *([f"sha256 {str(source['sha256'])[:12]}"] if source.get("sha256") else []),
    ]
    return str(source.get("format", "data")), ", ".join(known)


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
    columns = {
        key: values
        for key, values in scores.items()
        if key != "observation_names" and isinstance(values, list) and len(values) == len(names)
    }
    if not columns:
        return None
    covered = [value for value in columns.get("coverage_95", []) if isinstance(value, float)]
    amiss = [abs(value - 0.95) for value in covered]
    shown, caption = chosen(
        amiss if len(amiss) == len(names) else [0.0] * len(names),
        "those whose intervals are furthest from 95 %",
    )
    rows = [(names[d], {key: columns[key][d] for key in columns}) for d in shown]
    for name, some in (("all", scores.get("overall")), ("reward", scores.get("reward"))):
        if isinstance(some, dict) and set(columns) <= set(some):
            rows.append((name, some))
    headings = [_SCORE_NAMES.get(key, key.replace("_", " ")) for key in columns]
    cells = [[str(name), *(_score(key, some[key]) for key in columns)] for name, some in rows]
    return number_table(["", *headings], cells, caption=caption)


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
