"""What a rollout file says of itself, None where it doesn't, and what is odd about it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from imagine_cli.recording.schema import LIBRARIES

_OWN = {
    *("format", "format_version", "complete", "created", "command", "env_id", "env_kwargs"),
    *("policy", "propagation", "seed", "steps", "trajectories"),
    *("model_path", "model_sha256", "model_kind", "arguments", "files_sha256"),
    *(f"{library}_version" for library in LIBRARIES),
}


class Finding(NamedTuple):
    """Something remarkable: a short fixed word for programs, and a sentence for people."""

    kind: str
    message: str


class _Text:
    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Provenance, owner: type | None = None) -> str | None:
        value = instance.attributes.get(self.name)
        return None if value is None else str(value)


class Provenance:
    """The root attributes of a rollout file, by the names that RolloutHeader has for them."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes

    created = _Text()
    command = _Text()
    env_id = _Text()
    policy = _Text()
    propagation = _Text()
    model_path = _Text()
    model_sha256 = _Text()
    model_kind = _Text()

    @property
    def seed(self) -> int | None:
        try:
            value = int(self.attributes["seed"])
        except (KeyError, OverflowError, TypeError, ValueError):
            return None
        return value if value >= 0 else None

    @property
    def complete(self) -> bool | None:
        value = self.attributes.get("complete")
        return None if value is None else bool(value)

    @property
    def may_end_early(self) -> bool:
        """Whether trajectories may be NaN from some step on, as intended: of a real env that ended
        them, masked where they stopped being finite, or not there yet."""
        masked = self.attributes.get("on_nonfinite") == "mask"
        return masked or bool(self.attributes.get("real")) or self.complete is False

    @property
    def env_kwargs(self) -> dict[str, Any] | None:
        try:
            value = json.loads(self.attributes["env_kwargs"])
        except (KeyError, RecursionError, TypeError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    @property
    def extra(self) -> dict[str, str | int | float | bool]:
        """The attributes beside the format's own."""
        return {
            name: value
            for name, value in self.attributes.items()
            if name not in _OWN and isinstance(value, str | int | float | bool)
        }

    @property
    def versions(self) -> dict[str, str]:
        found = {library: self.attributes.get(f"{library}_version") for library in LIBRARIES}
        return {library: str(text) for library, text in found.items() if text is not None}
