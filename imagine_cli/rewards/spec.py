"""The arguments of a reward's spec: ``target=0,0;width=0.5``."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.rewards.base import RewardContext


def read_numbers(
    name: str, argument: str, sizes: Mapping[str, int], context: RewardContext
) -> dict[str, Tensor | None]:
    """``key=numbers;key=numbers`` -> a vector for each key of ``sizes``, None where not given.

    Args:
        name: of the reward, for what an error says.
        argument: one number, or as many as the size says, with commas between.
        sizes: how long each key's vector is.
        context: whose dtype and device they have.

    Raises:
        InputError: another key, one twice, what is no number, or too many or too few of them.
    """
    found: dict[str, Tensor | None] = dict.fromkeys(sizes)
    for part in filter(None, argument.split(";")):
        key, _, text = (piece.strip() for piece in part.partition("="))
        where = f"reward '{name}:{argument}'"
        if key not in sizes:
            known = ";".join(f"{each}=..." for each in sizes)
            raise InputError(f"{where} has no {key!r}; give {name}:{known}")
        if found[key] is not None:
            raise InputError(f"{where} gives {key} twice")
        values = [_number(piece, where, key) for piece in text.split(",")]
        if len(values) not in (1, sizes[key]):
            raise InputError(
                f"{where}: {key} has {len(values)} numbers; env {context.env.id!r} needs "
                f"{sizes[key]}, or one for all"
            )
        vector = torch.tensor(values, dtype=context.dtype, device=context.device)
        found[key] = vector.expand(sizes[key])
    return found


def _number(text: str, where: str, key: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or (math.isinf(value) and key != "width"):
        raise InputError(f"{where}: {key} has {text.strip()!r}, which is not a number") from None
    return value
