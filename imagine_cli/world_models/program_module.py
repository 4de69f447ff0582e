"""A program with its tensors as a module's buffers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.batch_invariant import widened
from imagine_cli.world_models.program import check_program, layers_of, run_program


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
        for k, (weight, bias) in self._layers.items():
            both = widened(state[weight], None if bias is None else state[bias])
            self.register_buffer(f"_wide_weight{k}", both[0], persistent=False)
            self.register_buffer(f"_wide_bias{k}", both[1], persistent=False)

    def run(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """The program's outputs."""
        tensors = {name: getattr(self, name) for name in self._tensors}
        wide = {
            k: (getattr(self, f"_wide_weight{k}"), getattr(self, f"_wide_bias{k}"))
            for k in self._layers
        }
        return run_program(self.program, tensors, inputs, wide)


def check_held(
    program: Any, state: Mapping[str, Tensor], inputs: tuple[str, ...], what: str
) -> None:
    """Raises InputError for a program, or tensors, that no :class:`ProgramModule` can hold."""
    odd = [name for name in state if not re.fullmatch(r"tensor_\d+", name)]
    if odd:
        raise InputError(f"the tensors of an exported {what} are tensor_0 and up, not {odd[0]}")
    check_program(program, list(state), inputs)
