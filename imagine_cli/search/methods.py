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
        propagation: how beliefs go through the model while a policy is searched for; the model's
            own if None.
        compiled: whether the model predicts by compiled functions there.
        fit: further options of the fit.
    """

    kind: str
    policy: str
    plans: bool = False
    propagation: str | None = None
    compiled: bool = False
    fit: tuple[tuple[str, Any], ...] = ()


PILCO = Method("gp", "rbf:50", propagation="moments", compiled=True)
MC_PILCO = Method("gp", "rbf:50", propagation="particles")
PETS = Method("ensemble", "icem", plans=True)
