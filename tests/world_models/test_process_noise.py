"""Standard deviations that are told, and the variances they become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tensordict.nn import TensorDictModule

from imagine_cli import InputError
from imagine_cli.world_models.module import ModuleWorldModel
from imagine_cli.world_models.process_noise import check_process_noise, process_variances
from tests.helpers.exported_modules import Network


@pytest.mark.parametrize(
    "given",
    [
        [0.1, 0.0, 1e39],
        (0.1, 0, 1e39),
        np.array([0.1, 0.0, 1e39]),
        [np.float64(0.1), np.int64(0), 1e39],
        torch.tensor([0.1, 0.0, 1e39], dtype=torch.float64),
    ],
)
def test_variances_have_the_digits_of_their_dtype(given: Any) -> None:
    sds = check_process_noise(given, 3, torch.float64)
    assert sds == [0.1, 0.0, 1e39]
    assert process_variances(sds, 3, torch.float64).tolist() == [0.1 * 0.1, 0.0, 1e39 * 1e39]


@pytest.mark.parametrize("given", [None, [], np.array([])])
def test_none_is_zero(given: Any) -> None:
    assert check_process_noise(given, 2, torch.float32, deterministic=False) == []
    assert process_variances([], 2, torch.float32).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "given",
    ["0.1", 0.1, {"0": 0.1}, ["0.1"], [[0.1]], [-0.1], [float("inf")], [float("nan")], [10**400]],
)
def test_what_is_no_number_from_0_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="must be finite numbers from 0"):
        check_process_noise(given, 1, torch.float64)


def test_others_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="for each of 2 dimensions"):
        check_process_noise([0.1], 2, torch.float64)
    with pytest.raises(InputError, match="gives no var of its own"):
        check_process_noise([0.1], 1, torch.float64, deterministic=False)
    with pytest.raises(InputError, match="too large for torch.float32"):
        check_process_noise([1e20], 1, torch.float32)


def test_a_modules_noise_in_float64() -> None:
    network = Network("mean").double()
    module = TensorDictModule(network, ["observation", "action"], [("next", "observation", "mean")])
    model = ModuleWorldModel(module, 3, 2, process_noise=np.array([0.1, 0.2, 0.3]))
    x, u = torch.zeros(1, 3).double(), torch.zeros(1, 2).double()
    assert model.conditional(x, u).var.tolist() == [[sd * sd for sd in (0.1, 0.2, 0.3)]]
    with pytest.raises(InputError, match="must be finite numbers from 0"):
        ModuleWorldModel(module, 3, 2, process_noise=[0.1, 0.2, float("inf")])
