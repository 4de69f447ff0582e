"""A program with its tensors as a module's buffers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.batch_invariant import linear, widened
from imagine_cli.world_models.program import (
    check_program,
    function_of,
    layers_of,
    run_program,
)
from imagine_cli.world_models.program_budget import check_budget


class ProgramModule(torch.nn.Module):
    """What an exported world model and an exported policy have in common.

    Attributes:
        program: as :func:`~imagine_cli.world_models.program.check_program` has it.
    """

    program: dict[str, Any]

    def hold(self, program: dict[str, Any], state: Mapping[str, Tensor]) -> None:
        """Make the tensors buffers, and the padded ones of its linear layers beside them."""
        self.program, self._tensors = program, list(state)
        for name, value in state.items():
            self.register_buffer(name, value)
        self._layers = layers_of(program, state)
        for weight, bias in set(self._layers.values()):
            both = widened(state[weight], None if bias is None else state[bias])
            for part, wide in zip((weight, bias), both, strict=True):
                self.register_buffer(f"_wide_{part}", wide, persistent=False)

    def run(self, inputs: dict[str, Tensor], part: dict[str, Any] | None = None) -> list[Tensor]:
        """The program's outputs, or those of a part of it."""
        tensors = {name: getattr(self, name) for name in self._tensors}

        def call(outputs: Any, name: str, given: list[Any], named: dict[str, Any]) -> Any:
            layer = self._layers.get(outputs) if isinstance(outputs, str) else None
            if layer is None:
                return function_of(name)(*given, **named)
            weight, bias = (getattr(self, f"_wide_{each}") for each in layer)
            return linear(given[0], given[1], (*given, None)[2], (weight, bias))

        return run_program(self.program if part is None else part, tensors, inputs, call)

    def check_runs(
        self, answer: Callable[[Tensor], tuple[Tensor, ...]], sizes: Mapping[str, int],
        dtype: torch.dtype, rows: Sequence[int],
    ) -> None:  # fmt: skip
        """Raises InputError where the program can't be run at points as ``answer`` does.

        Args:
            answer: of points ``(N, E)``, the inputs side by side, row by row.
            sizes: of the inputs, which are called so.
            dtype: of the points.
            rows: the numbers N that are tried.
        """
        tensors = {name: getattr(self, name) for name in self._tensors}
        generator = torch.Generator().manual_seed(0)
        for count in rows:
            # From 0 to 1: good as a number, as an index and for a logarithm.
            points = torch.rand(count, sum(sizes.values()), generator=generator, dtype=dtype)
            parts = dict(zip(sizes, torch.split(points, list(sizes.values()), dim=1), strict=True))
            try:
                check_budget(self.program, tensors, parts)
                with torch.no_grad():
                    _check_rows(answer, points, generator)
            except InputError as error:
                raise InputError(f"its program can't be used: {error}") from error
            except Exception as error:  # operators raise what they like
                reason = (str(error).splitlines() or [""])[0][:200]
                raise InputError(
                    f"its program fails at {count} points: {reason}; export it for any number of "
                    "them, with dynamic_shapes"
                ) from error


def _check_rows(
    answer: Callable[[Tensor], tuple[Tensor, ...]], points: Tensor, generator: torch.Generator
) -> None:
    """That a row's bits stay what they are when other rows change.

    Those with an odd number of ones in their number change, and then the others: no shift, flip or
    sum over rows has them on one side.
    """
    odd = torch.tensor([row.bit_count() % 2 == 1 for row in range(len(points))])
    before = answer(points)
    for changed in (odd, ~odd):
        others = torch.rand(points.shape, generator=generator, dtype=points.dtype)
        after = answer(torch.where(changed[:, None], others, points))
        for a, b in zip(before, after, strict=True):
            if not torch.equal(a[~changed].nan_to_num(), b[~changed].nan_to_num()):
                raise InputError(
                    "what it gives at one point depends on the points beside it; export a module "
                    "that treats each row by itself"
                )


def check_held(
    program: Any, state: Mapping[str, Tensor], inputs: tuple[str, ...], what: str
) -> None:
    """Raises InputError for a program, or tensors, that no :class:`ProgramModule` can hold."""
    odd = [name for name in state if not re.fullmatch(r"tensor_\d+", name)]
    if odd:
        raise InputError(f"the tensors of an exported {what} are tensor_0 and up, not {odd[0]}")
    check_program(program, list(state), inputs)
