"""Every dataset of a rollout, once: a new one is a line here, and nothing else lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LETTERS = {"trajectory": "B", "particle": "P", "step": "T", "observation": "D", "action": "F"}
"""Of each axis's label: the size that it has in shapes."""


def axis_label(axis: str) -> str:
    """What an axis counts: ``observation`` for ``observation_other`` and ``observation_name``."""
    return axis.removesuffix("_other").removesuffix("_name")


@dataclass(frozen=True)
class Field:
    """A dataset of a rollout.

    Attributes:
        name: ``group/dataset`` in the file.
        axes: the names of its axes, which are those of their scales. xarray wants every axis of
            an array, and an axis and an array, named differently: hence ``_other`` and ``_name``.
        after: how many entries its step axis has beside T. Entry 0 of one that has T+1 is the
            start; entry k of one that has T belongs to the step from belief k to k+1.
        required: whether every rollout file has it.
    """

    name: str
    axes: tuple[str, ...]
    after: int = 0
    required: bool = False

    @property
    def group(self) -> str:
        return self.name.split("/")[0]

    @property
    def step_axis(self) -> int:
        return self.axes.index("step")

    @property
    def letters(self) -> str:
        """Its shape in letters, as errors say it."""
        sizes = [LETTERS[axis_label(axis)] for axis in self.axes]
        return f"({', '.join('T+1' if size == 'T' and self.after else size for size in sizes)})"

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Where ``sizes`` has the size of each axis's label; T for ``step``."""
        return tuple(
            sizes[axis_label(axis)] + (self.after if axis == "step" else 0) for axis in self.axes
        )


_BELIEF = ("trajectory", "step", "observation")
_ACTION = ("trajectory", "step", "action")

FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("observation/mean", _BELIEF, after=1, required=True),
        Field("observation/var", (*_BELIEF, "observation_other"), after=1, required=True),
        Field("action/mean", _ACTION),
        Field("action/var", (*_ACTION, "action_other")),
        Field("reward/mean", ("trajectory", "step")),
        Field("reward/var", ("trajectory", "step")),
        Field(
            "particles/observation", ("trajectory", "particle", "step", "observation_name"), after=1
        ),
    )
}

REQUIRED_FIELDS = tuple(name for name, field in FIELDS.items() if field.required)
DEFAULT_FIELDS = (*REQUIRED_FIELDS, "action/mean")
