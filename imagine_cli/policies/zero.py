"""The policy ``zero``: do nothing, or what is nearest to it."""

from __future__ import annotations

import numpy as np

from imagine_cli.errors import InputError
from imagine_cli.policies.base import PolicyContext
from imagine_cli.policies.constant import ConstantPolicy

__all__ = ["make"]


def make(argument: str, context: PolicyContext) -> ConstantPolicy:
    """``zero``: zeros clipped into the bounds; action 0 of every choice of a discrete env."""
    if argument:
        raise InputError(f"policy 'zero:{argument}': zero takes nothing after it")
    env = context.env
    if env.is_discrete:
        action = env.encode_action(np.zeros(len(env.choices), dtype=np.int64))
    else:
        action = np.clip(np.zeros(env.action_size), env.action_low, env.action_high)
    return ConstantPolicy(action, context.dtype, context.device)
