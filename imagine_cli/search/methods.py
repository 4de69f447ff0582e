"""How a round of ``imagine learn`` learns: its world model, and what is improved by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Method:
    """How a round learns.

    Attributes:
        kind: of world model, as ``imagine fit`` takes it.
        policy: what is searched for, or what plans.
        plans: whether ``policy`` plans, so that there is nothing to search for.
        search: options of :func:`imagine_cli.optimize_policy`.
        fit: options of the fit.
    """

    kind: str
    policy: str
    plans: bool = False
    search: tuple[tuple[str, Any], ...] = ()
    fit: tuple[tuple[str, Any], ...] = ()


PILCO = Method("gp", "rbf:50", search=(("propagation", "moments"), ("compiled", True)))
# A swing-up's return is too rough for line searches: with the true model of a pendulum that hangs
# L-BFGS ended below 26 of 80 (3 of 3 searches), Adam at 43 and 47, upright and held.
MC_PILCO = Method(
    "gp",
    "rbf:50",
    search=(
        ("propagation", "particles"), ("particles", 50), ("method", "adam"),
        ("learning_rate", 0.05),
    ),
)  # fmt: skip
PETS = Method("ensemble", "icem", plans=True)
