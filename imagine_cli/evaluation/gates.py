"""Gates: conditions on scores that must not hold, ``--fail-if 'rmse@10 > 0.2'``.

::

    METRIC[DIMENSION]@HORIZON OP NUMBER

METRIC is one of :data:`METRICS`; ``[DIMENSION]``, by name or number, may be left out: then the
number is that of the observation as a whole (see :class:`~imagine_cli.scores.Scores`).
HORIZON is a step, or ``last``. OP is ``>``, ``>=``, ``<`` or ``<=``.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from imagine_cli.errors import InputError
from imagine_cli.evaluation.report import Evaluation, ModelReport
from imagine_cli.evaluation.scores import JOINT, MARGINAL

METRICS = (*MARGINAL, *JOINT)

_OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_GATE = re.compile(
    r"\s*(?P<metric>[A-Za-z_]+\d*)\s*"
    r"(?:\[(?P<dimension>[^\]]*)\]\s*)?"
    r"@\s*(?P<horizon>\w+)\s*"
    r"(?P<operator>>=|<=|>|<)\s*"
    r"(?P<number>\S+)\s*",
    re.ASCII,
)
_EXAMPLE = "write it like 'rmse@10 > 0.2', 'rmse[theta_dot]@10 > 0.2' or 'coverage95@last < 0.9'"


@dataclass(frozen=True)
class Gate:
    """One condition. ``horizon`` None is the last one, ``dimension`` None the whole observation."""

    metric: str
    dimension: str | None
    horizon: int | None
    operator: str
    threshold: float

    def __str__(self) -> str:
        where = "" if self.dimension is None else f"[{self.dimension}]"
        horizon = "last" if self.horizon is None else self.horizon
        return f"{self.metric}{where}@{horizon} {self.operator} {self.threshold!r}"


class Verdict(NamedTuple):
    """A gate of one model: its value, and why it failed; ``failure`` is empty where it passed."""

    gate: Gate
    model: str
    value: float
    failure: str

    @property
    def passed(self) -> bool:
        return not self.failure

    def line(self) -> str:
        """``rmse@10 > 0.2: it is 0.31 (wm.pt)``."""
        return f"{self.gate}: {self.failure or f'it is {self.value:.6g}'} ({self.model})"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine evaluate --json`` prints it."""
        return {
            "gate": str(self.gate),
            "model": self.model,
            "value": self.value,
            "passed": self.passed,
            "failure": self.failure,
        }


def parse_gate(text: str) -> Gate:
    """Raises InputError where ``text`` is no gate, or names a metric that there isn't."""

    def wrong(why: str) -> InputError:
        return InputError(f"--fail-if {text!r}{why}")

    found = _GATE.fullmatch(text)
    if found is None:
        raise wrong(f" is not a gate; {_EXAMPLE}")
    metric, dimension, horizon = found["metric"].lower(), found["dimension"], found["horizon"]
    if metric not in METRICS:
        raise wrong(f": no metric {metric!r}; there is {', '.join(METRICS)}")
    if dimension is not None and metric in JOINT:
        raise wrong(f": {metric} is of the whole observation; leave out [{dimension}]")
    if dimension is not None and not dimension.strip():
        raise wrong(f": the brackets name no dimension; {_EXAMPLE}")
    if horizon.lower() != "last" and not (horizon.isdigit() and int(horizon) > 0):
        raise wrong(": the horizon is a step from 1 on, or last")
    try:
        if "_" in found["number"]:
            raise ValueError
        threshold = float(found["number"])
    except ValueError:
        threshold = math.nan
    if math.isnan(threshold):
        raise wrong(f": {found['number']!r} is not a number")
    return Gate(
        metric,
        None if dimension is None else dimension.strip(),
        None if horizon.lower() == "last" else int(horizon),
        found["operator"],
        threshold,
    )


def check_gates(gates: list[Gate], names: list[str], steps: int) -> None:
    """InputError where a gate is about a dimension or a horizon that there won't be."""
    for gate in gates:
        if gate.horizon is not None and gate.horizon > steps:
            raise InputError(
                f"--fail-if '{gate}' looks at step {gate.horizon} and the evaluation has {steps}; "
                "give more --steps"
            )
        if gate.dimension is not None:
            _index(gate, names)


def judge(gates: list[Gate], found: Evaluation) -> list[Verdict]:
    """Every gate of every model, in their order. A value that is not a number fails."""
    return [_judge(gate, found, report) for report in found.models for gate in gates]


def _judge(gate: Gate, found: Evaluation, report: ModelReport) -> Verdict:
    scores, names = report.scores, found.observation_names
    dimension = None if gate.dimension is None else _index(gate, names)
    horizon = found.steps if gate.horizon is None else gate.horizon
    value = scores.value(gate.metric, horizon, dimension)
    failure = ""
    if not scores.count[horizon - 1]:
        failure = f"no real trajectory gets to step {horizon}"
    elif math.isnan(value):
        failure = "its value is not a number"
    elif _OPERATORS[gate.operator](value, gate.threshold):
        failure = f"it is {value:.6g}"
    return Verdict(gate, report.label, value, failure)


def _index(gate: Gate, names: list[str]) -> int:
    """The dimension's number: by name, else by number."""
    asked = gate.dimension or ""
    if asked in names:
        return names.index(asked)
    if asked.isdecimal() and int(asked) < len(names):
        return int(asked)
    raise InputError(f"--fail-if '{gate}': no dimension {asked!r}; there is {', '.join(names)}")
