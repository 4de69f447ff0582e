"""Gates: conditions on scores that must not hold, ``--fail-if 'rmse@10 > 0.2'``.

::

    METRIC[DIMENSION]@HORIZON OP NUMBER

METRIC is one of :data:`METRICS`; ``[DIMENSION]``, by name or number, may be left out: then the
number is that of the observation as a whole (see :class:`~imagine_cli.scores.Scores`).
HORIZON is a step, or ``last``. OP is ``>``, ``>=``, ``<`` or ``<=``.

A number is of so many trajectories, and other ones would give another. A gate fails where the
whole 95 % interval over trajectories is on the side that it names; where the threshold is inside,
they don't decide, and it passes with a remark about how many would.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from imagine_cli.errors import InputError
from imagine_cli.evaluation.report import Evaluation, ModelReport
from imagine_cli.evaluation.run_scores import RETURN_BIAS
from imagine_cli.evaluation.scores import JOINT, MARGINAL

METRICS = (*MARGINAL, *JOINT, RETURN_BIAS)

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
    """A gate of one model.

    Attributes:
        value: of the metric, NaN where there is none.
        interval: its 95 % interval over trajectories.
        trajectories: how many get so far.
        passed: whether the gate is met.
        deciding: where the threshold is inside the interval, about how many trajectories would
            decide; None where no number would.
    """

    gate: Gate
    model: str
    value: float
    interval: tuple[float, float]
    trajectories: int
    passed: bool
    deciding: int | None

    @property
    def decided(self) -> bool:
        """False where the threshold is inside the interval."""
        low, high = self.interval
        return not low <= self.gate.threshold <= high

    def line(self) -> str:
        """``rmse@10 > 0.2: it is 0.31, 0.29 to 0.33 (wm.pt)``."""
        low, high = self.interval
        said = f"it is {self.value:.3g}, 95 % interval {low:.3g} to {high:.3g}"
        if not self.trajectories:
            where = "the last step" if self.gate.horizon is None else f"step {self.gate.horizon}"
            said = f"no real trajectory gets to {where}"
        elif math.isnan(self.value):
            said = "its value is not a number"
        elif not self.decided:
            said += f": {self.trajectories} trajectories don't decide"
            if self.deciding is not None:
                said += f", about {self.deciding} would"
        return f"{self.gate}: {said} ({self.model})"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine evaluate --json`` prints it."""
        return {
            "gate": str(self.gate),
            "model": self.model,
            "value": self.value,
            "interval": self.interval,
            "trajectories": self.trajectories,
            "passed": self.passed,
            "decided": self.decided,
            "deciding_trajectories": self.deciding,
            "failure": "" if self.passed else self.line(),
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
    if dimension is not None and metric not in MARGINAL:
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
    if gate.metric not in scores.joint and dimension is None:
        raise InputError(
            f"--fail-if '{gate}': the reward is not known, of the real run or of what "
            f"{report.label} imagines"
        )
    value = scores.value(gate.metric, horizon, dimension)
    low, high = scores.interval(gate.metric, horizon, dimension)
    failing = _OPERATORS[gate.operator]
    passed = not (math.isnan(value) or all(failing(end, gate.threshold) for end in (low, high)))
    deciding = None
    if low <= gate.threshold <= high:
        deciding = scores.deciding(gate.metric, horizon, dimension, gate.threshold)
    count = int(scores.trajectories(gate.metric)[horizon - 1])
    return Verdict(gate, report.label, value, (low, high), count, passed, deciding)


def _index(gate: Gate, names: list[str]) -> int:
    """The dimension's number: by name, else by number."""
    asked = gate.dimension or ""
    if asked in names:
        return names.index(asked)
    if asked.isdecimal() and int(asked) < len(names):
        return int(asked)
    raise InputError(f"--fail-if '{gate}': no dimension {asked!r}; there is {', '.join(names)}")
