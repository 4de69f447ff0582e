"""The manifest of an unfinished rollout: enough to lay out its file and to put it together."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.recording.fields import FIELDS, REQUIRED_FIELDS
from imagine_cli.recording.schema import MAX_SIZE, RolloutHeader
from imagine_cli.recording.shard import Grid

MANIFEST = "manifest.json"
_FORMAT, _VERSION = "imagine-rollout-shards", 1
_LARGEST = 16 * 2**20
_MOST = 2**40


@dataclass(frozen=True)
class Manifest:
    """What a rollout's file will be, but for its numbers.

    Attributes:
        attributes: the root attributes, without ``complete``.
        observation_names, action_names: of the scales.
        observation_low, observation_high: ``(D,)``, None where there is no bound.
        dtype: ``"float64"`` or ``"float32"``.
        fields: the names of its datasets, in the order of FIELDS.
        particles: P, None without particles.
        together: the most trajectories that a shard spans, None for as many as suit.
        parts: how many writers of parts fill its folder; None for one that makes the file too.
    """

    attributes: dict[str, str | int | float | bool]
    observation_names: list[str]
    action_names: list[str]
    observation_low: list[float | None]
    observation_high: list[float | None]
    dtype: str
    fields: list[str]
    particles: int | None
    together: int | None
    parts: int | None = None

    @classmethod
    def of(
        cls,
        header: RolloutHeader,
        *,
        dtype: str,
        fields: Collection[str],
        particles: int | None,
        together: int | None,
        parts: int | None = None,
    ) -> Manifest:
        """Raises InputError for sizes that no rollout has, ValueError for unknown fields."""
        unknown = sorted({*fields} - {*FIELDS})
        if unknown or not {*fields} >= {*REQUIRED_FIELDS}:
            raise ValueError(f"a rollout has {', '.join(REQUIRED_FIELDS)}, and no {unknown}")
        low, high = (
            [float(bound) if math.isfinite(bound) else None for bound in bounds]
            for bounds in header.bounds()
        )
        return cls(
            attributes=header.attributes(),
            observation_names=list(header.observation_names),
            action_names=list(header.action_names),
            observation_low=low,
            observation_high=high,
            dtype=np.dtype(dtype).name,
            fields=[name for name in FIELDS if name in fields],
            particles=particles,
            together=together,
            parts=parts,
        ).checked()

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises FileNotFoundError where there is none, InputError where it is damaged."""
        path = folder / MANIFEST
        try:
            with path.open("rb") as file:
                document = json.loads(file.read(_LARGEST))
            if document["format"] != _FORMAT or document["version"] != _VERSION:
                raise InputError(
                    f"{path} is of format {document['format']!r}, version {document['version']!r}; "
                    f"this imagine reads version {_VERSION} of {_FORMAT}"
                )
            return cls(**document["rollout"]).checked()
        except (FileNotFoundError, InputError):
            raise
        except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError,
                TypeError, ValueError) as error:  # fmt: skip
            raise InputError(f"{path} is damaged and can't be read") from error

    def text(self) -> str:
        document = {"format": _FORMAT, "version": _VERSION, "rollout": asdict(self)}
        return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @cached_property
    def identity(self) -> str:
        """What tells its shards from those of other rollouts."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Of the axes, by their labels; ``step`` is T."""
        return {
            "trajectory": int(self.attributes["trajectories"]),
            "step": int(self.attributes["steps"]),
            "observation": len(self.observation_names),
            "action": len(self.action_names),
            "particle": 1 if self.particles is None else self.particles,
        }

    @cached_property
    def grid(self) -> Grid:
        return Grid(self.sizes, self.fields, np.dtype(self.dtype).itemsize, self.together)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """``(D,)`` float64 each, infinite where there is no bound."""
        return (
            np.array([-np.inf if bound is None else bound for bound in self.observation_low]),
            np.array([np.inf if bound is None else bound for bound in self.observation_high]),
        )

    def checked(self) -> Manifest:
        for axis, size in self.sizes.items():
            if not 1 <= size <= _MOST:
                raise InputError(
                    f"a rollout file has at most {_MOST:,} and at least one {axis}, not {size:,}"
                )
        largest = max(self.sizes["observation"], self.sizes["action"])
        if largest > MAX_SIZE:
            raise InputError(
                f"a rollout file holds full covariances of at most {MAX_SIZE} dimensions, not "
                f"{self.sizes['observation']} observations and {self.sizes['action']} actions"
            )
        names = [*self.observation_names, *self.action_names, *self.fields]
        low, high = self.observation_low, self.observation_high
        bounds = [bound for bound in (*low, *high) if bound is not None]
        counts = (self.particles, self.together, self.parts)
        sound = (
            all(isinstance(name, str) for name in names)
            and all(map(_plain, self.attributes.values()))
            and all(_plain(bound) and not isinstance(bound, str) for bound in bounds)
            and len(low) == len(high) == self.sizes["observation"]
            and self.dtype in ("float64", "float32")
            and {*REQUIRED_FIELDS} <= {*self.fields} <= {*FIELDS}
            and (self.particles is not None or "particles/observation" not in self.fields)
            and all(n is None or (isinstance(n, int) and n >= 1) for n in counts)
        )
        if not sound:
            raise ValueError("no manifest of a rollout")
        return self

    def difference(self, other: Manifest) -> str | None:
        """How the rollout of ``other`` is not this one, by the first option that differs.

        When and by which command they were begun is no difference.
        """
        taken = {name: other.attributes.get(name, "") for name in ("created", "command")}
        ours, theirs = {**self.attributes, **taken}, other.attributes
        told = {name: (theirs.get(name), ours.get(name)) for name in sorted({*ours, *theirs})}
        for name in ("dtype", "fields", "particles", "observation_names", "action_names"):
            told[name] = getattr(other, name), getattr(self, name)
        for name, (a, b) in told.items():
            if a != b and (a is None or b is None or str(a) != str(b)):
                name, a, b = _first_difference(name, a, b)
                return f"its {name} is {_said(a)}, and now it is {_said(b)}"
        return None


def _plain(value: Any) -> bool:
    """What an attribute of a rollout is. Raises OverflowError for a whole number above all."""
    return isinstance(value, str | bool) or (
        isinstance(value, int | float) and math.isfinite(value)
    )


def _first_difference(name: str, a: Any, b: Any) -> tuple[str, Any, Any]:
    """Of two JSON objects the first key that differs, with its values."""
    try:
        one, other = json.loads(str(a)), json.loads(str(b))
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                option = "compile" if key == "compiled" else key.replace("_", "-")
                return f"--{option}", one.get(key), other.get(key)
    except (ValueError, TypeError, AttributeError):
        pass
    return name, a, b


def _said(value: Any) -> str:
    text = "missing" if value is None else repr(str(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
