"""Which of a file's columns is what: by the names that are usual, or as ``--columns`` says."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from imagine_cli.errors import InputError

USUAL: Mapping[str, tuple[str, ...]] = {
    "observation": ("observations", "observation", "obs", "states"),
    "action": ("actions", "action", "acts", "act"),
    "next_observation": (
        "next_observations", "next_observation", "next_obs", "obs_next", "next/observation"
    ),
    "reward": ("rewards", "next/reward", "reward", "rews", "rew"),
    "episode": ("episode", "trajectory", "episode_id", "episode_index", "collector/traj_ids"),
    "end": (
        "terminals", "timeouts", "terminations", "truncations", "terminated", "truncated", "dones",
        "terminal", "timeout", "done", "next/terminated", "next/truncated", "next/done",
    ),
    "imagined": ("imagined",),
}  # fmt: skip
"""What a transition is made of, and how d4rl, Gymnasium, torchrl, Tianshou and we name it.

``end`` is where an episode ends, by any of its names; of the others the first that is there counts.
"""

_SHOWN = 20
_EXAMPLE = "--columns 'observation=x,y;action=u;episode=run'"


def parse_columns(text: str) -> dict[str, list[str]]:
    """``"observation=x,y;action=u"`` -> ``{"observation": ["x", "y"], "action": ["u"]}``.

    Raises:
        InputError: it is not written so, or names what a transition does not have.
    """
    found: dict[str, list[str]] = {}
    for part in text.split(";"):
        name, equals, columns = part.strip().partition("=")
        if name not in USUAL or not equals or not columns or name in found:
            raise InputError(
                f"--columns has {part.strip()!r}, which does not say once of one of "
                f"{', '.join(USUAL)} which columns it is; as in {_EXAMPLE}"
            )
        found[name] = next(csv.reader([columns], skipinitialspace=True))
    return found


def listed(names: Sequence[str]) -> str:
    """The first of a file's names, for errors."""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:40] for name in names[:_SHOWN]) + more or "none"


def find_columns(
    names: Sequence[str], said: Mapping[str, Sequence[str]], path: Path
) -> dict[str, list[str]]:
    """The columns of each part of a transition, of those that there are.

    Raises:
        InputError: ``said`` names one that is not there, or there is no observation or no action.
    """
    there = listed(names)
    found = {field: [name for name in usual if name in names] for field, usual in USUAL.items()}
    found = {field: some if field == "end" else some[:1] for field, some in found.items()}
    actions = [name for name in names if name.startswith("action ")]
    if actions and not found["observation"] and not found["action"]:  # as imagine export writes
        known = {"step", *actions, *(name for some in found.values() for name in some)}
        found["action"] = actions
        found["observation"] = [n for n in names if n not in known and not n.startswith("sd ")]
    for field, patterns in said.items():
        found[field] = []
        for pattern in patterns:
            some = [pattern] if pattern in names else [n for n in names if fnmatchcase(n, pattern)]
            if not some:
                raise InputError(f"{path} has no column {pattern!r} for --columns (it has {there})")
            found[field] += some
    missing = [field for field in ("observation", "action") if not found[field]]
    if missing:
        raise InputError(
            f"{path} has no column that is known as {' and none as '.join(missing)} (it has "
            f"{there}); say which it is, as in {_EXAMPLE}"
        )
    return {field: some for field, some in found.items() if some}
