"""What the inputs and outputs of a foreign model are, where its file doesn't say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from imagine_cli.errors import InputError

INPUTS = ("observation", "action", "noise")

# The key that an output has then, and what makes it of the program's number, if anything.
OUTPUTS: dict[str, tuple[Any, str | None]] = {
    "mean": (["next", "observation", "mean"], None),
    "delta": (["next", "observation", "mean"], None),
    "var": (["next", "observation", "var"], None),
    "std": (["next", "observation", "var"], "aten.square.default"),
    "logvar": (["next", "observation", "var"], "aten.exp.default"),
    "reward": (["next", "reward", "mean"], None),
    "reward_var": (["next", "reward", "var"], None),
    "_": ("_", None),
}


class Signature(NamedTuple):
    """Names of inputs, of :data:`INPUTS`, and of outputs, of :data:`OUTPUTS`, in their order.

    ``"delta"`` is the mean of the difference to the next observation, ``"_"`` nothing.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def told(cls, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Signature | None:
        """From what is told; None where nothing is. Raises InputError for other names."""
        if inputs is None and outputs is None:
            return None
        given = tuple(inputs or INPUTS[:2])
        if sorted(given) not in (sorted(INPUTS[:2]), sorted(INPUTS)):
            raise InputError(
                f"--inputs {','.join(given)} is not observation and action, with or without noise, "
                "in the model's order"
            )
        gives = tuple(outputs or ("mean",))
        for name in gives:
            if name not in OUTPUTS:
                raise InputError(f"--outputs {name!r} is none of {', '.join(OUTPUTS)}")
        return cls(given, gives)

    @property
    def keys(self) -> list[Any]:
        """The outputs' keys, as a TensorDictModule would have them."""
        return [OUTPUTS[name][0] for name in self.outputs]

    def applied(self, program: dict[str, Any]) -> dict[str, Any]:
        """A program whose outputs are variances where these are something else."""
        if len(program["outputs"]) != len(self.outputs):
            raise InputError(
                f"it gives {len(program['outputs'])} outputs, and --outputs names "
                f"{len(self.outputs)}: {','.join(self.outputs)}"
            )
        steps, outputs = list(program["steps"]), list(program["outputs"])
        for k, name in enumerate(self.outputs):
            if (operator := OUTPUTS[name][1]) is not None:
                steps.append([operator, [{"value": outputs[k]}], {}, f"told_{k}"])
                outputs[k] = f"told_{k}"
        return {"steps": steps, "outputs": outputs}
