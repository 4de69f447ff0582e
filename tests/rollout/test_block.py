"""The memory that the steps of a rollout are kept in."""

from __future__ import annotations

import torch
from imagine_cli.rollout.block import Block

from imagine_cli.belief import ActionBelief
from imagine_cli.world_models.interfaces import Prediction


def test_what_a_step_leaves_out_is_not_a_number() -> None:
    like = torch.zeros(2, 3)
    wanted = {"action_var": True, "reward": True, "reward_var": True}
    block = Block.empty(2, 4, like, 1, wanted, 0)
    prediction = Prediction(like, torch.zeros(2, 3, 3))
    for k in range(4):
        block.put(k, ActionBelief(torch.zeros(2, 1)), prediction, {})
    numbers = block.numbers()
    assert (block.mean == 0).all()
    assert numbers["action_var"].shape == (2, 4, 1, 1)
    for name in ("action_var", "reward_mean", "reward_var"):
        assert torch.isnan(torch.tensor(numbers[name])).all()
