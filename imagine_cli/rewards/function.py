"""The reward ``module:function``: one of the user's own."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from imagine_cli.errors import ImagineError, InputError
from imagine_cli.registry import named_by_user
from imagine_cli.rewards.base import Reward

Function = Callable[[Tensor, Tensor, Tensor], Tensor]


class FunctionReward(Reward):
    """A function ``(x, u, x') -> r`` of tensors ``(*S, D)``, ``(*S, F)``, ``(*S, D)``.

    It returns ``(*S,)``; an attribute ``ended`` of it, if there is one, says the same way where
    an episode ends.
    """

    def __init__(self, function: Function, name: str) -> None:
        self._function, self.name = function, name

    def at(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        return self._call(self._function, x, u, x_next)

    def ended(self, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        rule = getattr(self._function, "ended", None)
        if rule is None:
            return super().ended(x, u, x_next)
        return self._call(rule, x, u, x_next).bool()

    def _call(self, function: Function, x: Tensor, u: Tensor, x_next: Tensor) -> Tensor:
        try:
            value = function(x, u, x_next)
        except Exception as error:  # a user's function may raise anything at all
            raise ImagineError(
                f"reward {self.name!r} failed with {type(error).__name__}: "
                f"{' '.join(str(error).split())}"
            ) from error
        if not isinstance(value, Tensor) or value.shape != x_next.shape[:-1]:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                f"reward {self.name!r} returned {got} for observations of shape "
                f"{tuple(x_next.shape)}; it must return a tensor {tuple(x_next.shape[:-1])}"
            )
        return value


def find_function(spec: str) -> Reward:
    """The reward of ``module:function``, the module found in the current folder too.

    Raises InputError where there is no such module or function, or where importing it fails.
    """
    found = named_by_user(spec, "reward")
    if isinstance(found, Reward):
        return found
    if not callable(found) or isinstance(found, type):
        raise InputError(
            f"reward {spec!r} is {type(found).__name__}, not a function of (x, u, x_next)"
        )
    return FunctionReward(found, spec)
