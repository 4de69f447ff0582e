"""Modules as archives of ``torch.export``, of operators that are run here."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError


def program_from(module: torch.nn.Module, given: Sequence[Tensor]) -> Any:
    """The ``ExportedProgram`` of a module for inputs like ``given``, of any number of rows.

    Raises InputError where torch can't.
    """
    shapes = tuple({0: torch.export.Dim("batch")} for _ in given)
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(module, tuple(given), dynamic_shapes=shapes)
    except Exception as error:  # torch.export raises many kinds
        raise InputError(f"torch.export can't export the module: {line(error)}") from error


def archive(program: Any, extra: dict[str, str], read: Callable[[bytes], object]) -> bytes:
    """A program as the content of a ``.pt2`` that ``read`` takes: raises InputError if none is.

    Args:
        extra: files beside the program.
        read: raises InputError for a program that can't be run here.
    """
    content = _saved(program, extra)
    try:
        read(content)
    except InputError as error:
        # What is not run here may be made of what is.
        try:
            with quiet():
                content = _saved(program.run_decompositions(), extra)
            read(content)
        except Exception:  # as above
            raise error from None
    return content


def _saved(program: Any, extra: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files=extra)
    return buffer.getvalue()


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """The module and all in it as after ``eval()``, and afterwards as they were."""
    training = [each for each in module.modules() if each.training]
    module.eval()
    try:
        yield
    finally:
        for each in training:
            each.training = True


@contextmanager
def quiet() -> Iterator[None]:
    """torch.export warns and logs of what is no concern of who exports."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def dtype_of(module: torch.nn.Module) -> torch.dtype:
    """That of a module's numbers, torch's default where it has none; InputError for others."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            if tensor.dtype not in (torch.float32, torch.float64):
                raise InputError(f"an exported model is float32 or float64, not {tensor.dtype}")
            return tensor.dtype
    return torch.get_default_dtype()


def called(
    module: torch.nn.Module, given: Sequence[Tensor], what: str = "the module"
) -> tuple[Tensor, ...]:
    """What a module gives, as a tuple; InputError where it fails, or draws at random."""
    try:
        with torch.no_grad(), torch.random.fork_rng([]):
            found, again = (_as_tuple(module(*given)) for _ in range(2))
    except Exception as error:  # a module may raise anything at all
        shapes = " and ".join(str(tuple(each.shape)) for each in given)
        raise InputError(f"{what} fails at points {shapes}: {line(error)}") from error
    if not all(isinstance(each, Tensor) for each in found):
        raise InputError(f"{what} gives something that is no tensor")
    pairs = zip(found, again, strict=True)
    if not all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs):
        raise InputError(
            f"{what} draws at random; have it take standard normal numbers as an input, 'noise', "
            "which come from each trajectory's own stream"
        )
    return found


def _as_tuple(found: Any) -> tuple[Any, ...]:
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)
