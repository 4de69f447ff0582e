"""What the policies with parameters, those of checkpoints, have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies.pointwise import PointPolicy

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class ParametricPolicy(PointPolicy):
    """A policy with parameters, which can be saved, loaded and trained.

    Attributes:
        kind: the name it has in checkpoints.
    """

    kind: ClassVar[str]

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Plain data (numbers, strings, lists) that with the state dict makes the policy again."""

    @classmethod
    @abstractmethod
    def from_config(
        cls, config: Mapping[str, Any], state: Mapping[str, Tensor], env: EnvDescription
    ) -> ParametricPolicy:
        """The inverse of :meth:`config` and ``state_dict``, for ``env``.

        Raises InputError on bad data, and on sizes that are not the env's.
        """


def take(
    state: Mapping[str, Tensor], names: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> list[Tensor]:
    """The tensors ``names`` of a state dict: there, finite, float and of these shapes; no others.

    A size of -1 is any size. Raises InputError.
    """
    if set(state) != set(names):
        raise InputError(f"its state has {_names(state)} where {_names(names)} belong")
    for name in names:
        tensor, shape = state[name], shapes[name]
        fits = len(shape) == tensor.dim() and all(
            want in (-1, got) for want, got in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            want = "(" + ", ".join("any" if n == -1 else str(n) for n in shape) + ")"
            raise InputError(f"{name} has the shape {tuple(tensor.shape)} where {want} belongs")
        if tensor.dtype not in _DTYPES or not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name} holds something other than finite floating-point numbers")
    return [state[name] for name in names]


def choice(config: Mapping[str, Any], key: str, known: Sequence[str]) -> str:
    """``config[key]``, one of ``known``, of which the first is the default."""
    value = config.get(key, known[0])
    if value not in known:
        raise InputError(f"its {key} is {value!r}; there is {', '.join(known)}")
    return str(value)


def _names(names: Sequence[str] | Mapping[str, Any]) -> str:
    listed = [str(name) for name in list(names)[:6]]
    more = ", ..." if len(names) > 6 else ""
    return (", ".join(listed) or "nothing") + more
