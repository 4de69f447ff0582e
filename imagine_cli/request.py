"""What decides every number of a rollout, as one value; to and from JSON. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from imagine_cli.errors import InputError


@dataclass(frozen=True)
class RolloutRequest:
    """Everything that a rollout's numbers depend on: equal requests give equal bits.

    It is what a rollout file keeps, what an unfinished rollout goes on from, what ``rerun`` reads
    and what a worker gets. How it is run (output, overwriting, trust, progress) is not part of it.

    Attributes:
        env: Gymnasium id of the real env; it lends its specs and its resets. Where it is empty,
            whoever runs the request takes the env that the model's checkpoint names.
        model: the path of the world model; empty for one that is handed over as an object.
        env_kwargs: arguments for the env.
        policy: as :func:`imagine_cli.policies.make_policy` takes it.
        open_loop: whether the policy sees the mean of a belief alone.
        start: as :func:`imagine_cli.rollout.initial.make_initial` takes it.
        propagation: the name of a propagation; None for the model's own default.
        parameters: of that propagation, such as ``particles``; None is its default.
        reward: what is maximised, as :func:`imagine_cli.rewards.make_reward` takes it; the world
            model's own, where it has one, if None.
        steps: T, 1 or more.
        trajectories: B, 1 or more.
        seed: 0 or more.
        dtype: ``"float32"`` or ``"float64"`` of beliefs and file; the model's own if None.
        device: where the model computes.
        compiled: predict by compiled functions where the model has any, see
            :meth:`imagine_cli.world_models.WorldModel.compile`.
        save_particles: record every particle too.
        on_nonfinite: ``"stop"``: a belief that is not finite is an error; ``"mask"``: the rest of
            that trajectory is NaN, and the others go on.

    Raises:
        InputError: a value that no rollout can have.
    """

    env: str = ""
    model: str = ""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    policy: str = "random"
    open_loop: bool = False
    start: str = "reset"
    propagation: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 50
    trajectories: int = 1
    reward: str | None = None
    seed: int = 0
    dtype: str | None = None
    device: str = "cpu"
    compiled: bool = False
    save_particles: bool = False
    on_nonfinite: str = "stop"

    PARAMETERS: ClassVar[tuple[str, ...]] = ("particles", "members", "resample")
    """Parameters of propagations that are options of the command line."""

    def __post_init__(self) -> None:
        if self.on_nonfinite not in ("stop", "mask"):
            raise InputError(f"--on-nonfinite {self.on_nonfinite!r} is not stop or mask")
        if self.dtype not in (None, "float32", "float64"):
            raise InputError(f"--dtype {self.dtype!r} is not float32 or float64")
        for name, least in (("steps", 1), ("trajectories", 1), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"--{name} is {value}; it must be {least} or more")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> RolloutRequest:
        """From options by name, as commands and Python calls have them.

        Options that are None are left to their defaults; a propagation or a policy may be an
        object; what is in :attr:`PARAMETERS` goes to the propagation; other names are left alone.
        """
        known = {each.name for each in fields(cls)}
        own = {name: value for name, value in options.items() if name in known}
        given = {name: options[name] for name in cls.PARAMETERS if options.get(name)}
        given.update(own.pop("parameters", None) or {})
        propagation = own.get("propagation")
        policy = own.get("policy")
        if policy is not None and not isinstance(policy, str):
            own["policy"] = getattr(policy, "__name__", type(policy).__name__)
        if propagation is not None and not isinstance(propagation, str):
            for name in getattr(propagation, "__dataclass_fields__", {}):
                if getattr(propagation, name) not in (None, False):
                    given[name] = getattr(propagation, name)
            own["propagation"] = propagation.name
        return cls(
            **{name: value for name, value in own.items() if value is not None}, parameters=given
        )

    def to_json(self) -> str:
        """One line; :meth:`from_json` is the inverse."""
        values = asdict(self)
        values.update(dict.fromkeys(self.PARAMETERS), **values.pop("parameters"))
        return json.dumps(values, sort_keys=True, default=str)

    @classmethod
    def from_json(cls, text: str, source: Any) -> RolloutRequest:
        """The request that the file ``source`` keeps, by version 0.1 too.

        Raises:
            InputError: no such object, a value of another type, or one that no request can have.
        """
        try:
            values = json.loads(text)
        except (RecursionError, TypeError, ValueError) as error:
            raise InputError(f"{source} does not say how it was made: {error}") from error
        if not isinstance(values, dict):
            raise InputError(f"{source} does not say how it was made: not a JSON object")
        values.pop("trust_pickle", None)  # of version 0.1: who runs it again decides that
        known = {each.name: each for each in fields(cls) if each.name != "parameters"}
        own = {name: values.pop(name) for name in known if name in values}
        if "env" not in own:
            raise InputError(f"{source} does not say how it was made: no env")
        for name, value in own.items():
            if not _fits(value, str(known[name].type)):
                raise InputError(
                    f"{source} does not say how it was made: its {name} is {str(value)[:80]!r}"
                )
        parameters = {name: value for name, value in values.items() if value not in (None, False)}
        if not all(isinstance(value, bool | int | float | str) for value in parameters.values()):
            raise InputError(f"{source} does not say how it was made: odd {sorted(parameters)}")
        return cls(**own, parameters=parameters)


_TYPES: dict[str, Any] = {"str": str, "int": int, "bool": bool, "Mapping[str, Any]": dict}


def _fits(value: Any, declared: str) -> bool:
    if declared.endswith(" | None"):
        return value is None or _fits(value, declared.removesuffix(" | None"))
    return isinstance(value, _TYPES[declared]) and isinstance(value, bool) == (declared == "bool")
