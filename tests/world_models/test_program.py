"""Programs whose calls torch itself would not survive."""

from __future__ import annotations

from typing import Any

import pytest

from imagine_cli import InputError
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
