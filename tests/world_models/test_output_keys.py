"""What entries are, by their keys."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from imagine_cli import InputError
from imagine_cli.world_models.output_keys import as_conditional, output_names

MEAN = ["next", "observation", "mean"]


def test_each_key_has_its_role() -> None:
    keys = ["other", MEAN, ("next_observation", "var"), ("reward", "var"), ("next", "reward")]
    assert output_names(keys) == [None, "mean", "var", "reward_var", "reward_mean"]


@pytest.mark.parametrize("key", [("next", "reward", "var"), ["reward", "var"]])
def test_a_variance_of_a_reward_is_nothing_without_its_mean(key: Any) -> None:
    with pytest.raises(InputError, match="a reward 'var' needs a reward's mean"):
        output_names([MEAN, key])
    found = {"mean": torch.zeros(2, 3), "reward_var": torch.ones(2)}
    with pytest.raises(InputError, match="the variance of a reward, and no mean of it"):
        as_conditional(found, torch.zeros(2, 3), difference=False, noise=torch.zeros(3))
