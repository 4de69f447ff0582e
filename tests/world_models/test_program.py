"""Programs whose calls torch, memory or patience would not survive, and whose rows mix."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from imagine_cli import InputError
from imagine_cli.world_models import ExportedWorldModel
from imagine_cli.world_models.program import check_program

X: dict[str, str] = {"value": "observation"}


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (["aten.to.dtype", [X, 255], {}, "z"], "aten.to.dtype with a dtype that is none"),
        (["aten.to.dtype", [X, X], {}, "z"], "with a dtype that is none"),
        (["aten._to_copy.default", [X], {"layout": 99}, "z"], "with a layout that is none"),
        (["aten.clone.default", [X], {"memory_format": 77}, "z"], "a memory_format that is none"),
        (["aten.zeros.default", [[2]], {"device": "cuda"}, "z"], "with a device that is none"),
        (["aten.sum.default", [X], {"dtype": 12345}, "z"], "with a dtype that is none"),
        (["aten.remainder.int", [7, 0], {}, "z"], "'aten.remainder.int'"),
        (["aten.floor_divide.int", [7, 0], {}, "z"], "'aten.floor_divide.int'"),
        (["aten.roll.default", [X, [1] * 10**5, [0] * 10**5], {}, "z"], "with 100000 axes"),
        (["aten.sin.default", [X], {}, "observation"], "an output without a name of its own"),
        (["aten.sin.default", [X, X], {}, "z"], "gives aten.sin.default more than it takes"),
        (["aten.sin.default", [X], {"odd": 1}, "z"], "gives aten.sin.default more than it takes"),
    ],
)
def test_what_is_no_argument_is_refused(step: list[Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_program({"steps": [step], "outputs": ["z"]}, [], ["observation"])


def test_what_is_one_is_not() -> None:
    steps = [
        ["aten._to_copy.default", [X], {"dtype": {"dtype": "float64"}, "layout": None}, "y"],
        ["aten.zeros.default", [[2]], {"device": {"value": "$device"}}, "z"],
        ["aten.to.dtype", [X, {"dtype": "float32"}], {}, "w"],
    ]
    check_program({"steps": steps, "outputs": ["w"]}, [], ["observation"])


def model(*steps: list[Any], **tensors: torch.Tensor) -> ExportedWorldModel:
    """Of two dimensions and an action, float64; the last step's output is the mean."""
    config: dict[str, Any] = {
        "observation_size": 2, "action_size": 1, "dtype": "float64", "computes_in": "float64",
        "in_keys": ["observation", "action"], "out_keys": ["next_observation"],
        "difference": False, "process_noise": [],
        "program": {"steps": list(steps), "outputs": [steps[-1][3]]},
    }  # fmt: skip
    return ExportedWorldModel.from_config(config, tensors)


Z: dict[str, str] = {"value": "z"}
GROWN = ["aten.add.Tensor", [X, {"value": "x"}], {}, "mean"]
SQUARES = [["aten.sym_size.int", [X, 0], {}, "n0"]] + [
    ["operator.mul", [{"value": f"n{k}"}] * 2, {}, f"n{k + 1}"] for k in range(100)
]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([["aten.zeros.default", [[10**9, 2]], {}, "z"]], "computes more than"),
        ([["aten.new_zeros.default", [X, [10**7, 6]], {}, "z"]], "needs more than 256 MiB"),
        ([["aten.full.default", [[2**62, 2**62], 1.0], {}, "z"]], "fails at 2 points"),
        ([["aten.arange.default", [10**12], {}, "z"]], "computes more than"),
        ([["aten.linspace.default", [0, 1, 10**12], {}, "z"]], "computes more than"),
        ([["aten.eye.default", [10**6], {}, "z"]], "computes more than"),
        ([["aten.repeat.default", [X, [10**4, 10**4]], {}, "z"]], "computes more than"),
        ([["aten.tile.default", [X, [1, 10**8]], {}, "z"]], "computes more than"),
        ([["aten.constant_pad_nd.default", [X, [0, 10**9]], {}, "z"]], "computes more than"),
        ([["aten.diag_embed.default", [X, 10**6], {}, "z"]], "computes more than"),
        ([["aten._to_copy.default", [X], {"dtype": {"dtype": "int64"}}, "y"],
          ["aten.one_hot.default", [{"value": "y"}, 10**9], {}, "z"]], "computes more than"),
        ([["aten._to_copy.default", [X], {"dtype": {"dtype": "int64"}}, "y"],
          ["aten.one_hot.default", [{"value": "y"}], {}, "z"]], "fails at 2 points"),
        ([["aten.expand.default", [X, [2**40, -1, -1]], {}, "y"],
          ["aten.sum.default", [{"value": "y"}], {}, "z"]], "computes more than"),
        ([["aten.arange.default", [10**7], {}, "y"],
          ["aten.outer.default", [{"value": "y"}] * 2, {}, "z"]], "computes more than"),
        ([["aten.new_zeros.default", [X, [5000, 5000]], {}, "y"],
          ["aten.mm.default", [{"value": "y"}] * 2, {}, "z"]], "computes more than"),
        ([["aten.new_zeros.default", [X, [10**6]], {}, "z0"]]
         + [["aten.cumsum.default", [{"value": f"z{k}"}, 0], {}, f"z{k + 1}"] for k in range(100)],
         "computes more than|needs more than"),
        ([["aten.new_zeros.default", [X, [10**6]], {}, "y"],
          ["aten.cat.default", [[{"value": "y"}] * 1000], {}, "z"]], "computes more than"),
        ([["aten.new_zeros.default", [X, [10**7]], {}, "y"],
          ["aten.unbind.int", [{"value": "y"}], {}, ["z"]]], "more than 20000 tensors of one"),
        ([["aten.new_zeros.default", [X, [0]], {}, "y"],
          ["aten.chunk.default", [{"value": "y"}, 10**12], {}, ["z"]]], "more than 20000 tensors"),
        (SQUARES, "computes sizes without bound"),
        ([["operator.mul", [[1, 2, 3], 10**12], {}, "z"]], "sizes of something that is no number"),
        ([["aten.gt.Scalar", [X, 0.5], {}, "y"],
          ["aten.index.Tensor", [X, [{"value": "y"}]], {}, "z"]], "by a mask that it computes"),
        ([["aten.sum.default", [X], {}, "y"],
          ["aten.arange.default", [{"value": "y"}], {}, "z"]], "fails at 2 points"),
        ([["aten.unsqueeze.default", [X if k == 0 else {"value": f"z{k - 1}"}, 0], {}, f"z{k}"]
          for k in range(100)], "makes a tensor of 65 axes"),
    ],
)  # fmt: skip
def test_what_would_take_for_ever_or_all_memory_is_never_begun(
    steps: list[Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        model(*steps, ["aten.mul.Tensor", [X, 0.5], {}, "mean"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "steps",
    [
        [["aten.sum.dim_IntList", [X, [0], True], {}, "x"], GROWN],
        [["aten.amax.default", [X, [0], True], {}, "x"], GROWN],
        [["aten.roll.default", [X, [1], [0]], {}, "x"], GROWN],
        [["aten.roll.default", [X, [2], [0]], {}, "x"], GROWN],
        [["aten.flip.default", [X, [0]], {}, "x"], GROWN],
        [["aten.cumsum.default", [X, 0], {}, "x"], GROWN],
        [["aten.slice.Tensor", [X, 0, 0, 1], {}, "x"], GROWN],
        [["aten.softmax.int", [X, 0], {}, "x"], GROWN],
        [["aten.reshape.default", [X, [2, -1]], {}, "y"],
         ["aten.mT.default", [{"value": "y"}], {}, "w"],
         ["aten.reshape.default", [{"value": "w"}, [-1, 2]], {}, "x"], GROWN],
    ],
    ids=lambda steps: steps[0][0],
)  # fmt: skip
def test_rows_that_depend_on_each_other_are_refused(steps: list[Any]) -> None:
    with pytest.raises(InputError, match="depends on the points beside it"):
        model(*steps)


def test_constants_as_masks_and_as_large_as_their_file_are_not() -> None:
    mask = torch.tensor([True, False, True])
    steps = [
        ["aten.cat.default", [[X, {"value": "action"}], -1], {}, "xu"],
        ["aten.index.Tensor", [{"value": "xu"}, [None, {"value": "tensor_0"}]], {}, "mean"],
    ]
    x, u = torch.rand(5, 2, dtype=torch.float64), torch.rand(5, 1, dtype=torch.float64)
    found = model(*steps, tensor_0=mask).conditional(x, u).mean
    assert torch.equal(found, torch.cat([x[:, :1], u], -1))
    sizes = (2, 3000, 3000, 2)
    weights = [torch.rand(n, m, dtype=torch.float64) for n, m in itertools.pairwise(sizes)]
    steps = [
        ["aten.mm.default", [X if k == 0 else {"value": f"z{k - 1}"}, {"value": f"tensor_{k}"}],
         {}, f"z{k}"]
        for k in range(3)
    ]  # fmt: skip
    model(*steps, **{f"tensor_{k}": weight for k, weight in enumerate(weights)})


def test_a_weight_in_many_layers_is_padded_once() -> None:
    weight = torch.eye(2, dtype=torch.float64)
    steps = [
        ["aten.linear.default", [X if k == 0 else {"value": f"z{k - 1}"}, {"value": "tensor_0"}],
         {}, f"z{k}"]
        for k in range(50)
    ]  # fmt: skip
    found = model(*steps, tensor_0=weight)
    assert sum(name.startswith("_wide") for name, _ in found.named_buffers()) == 1
