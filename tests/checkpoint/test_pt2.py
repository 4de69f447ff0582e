"""Exported programs from strangers: nothing in the file runs, and damage is one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagine_cli import InputError, export_world_model, load_world_model
from imagine_cli.world_models import ExportedWorldModel
from tests.helpers.exported_modules import Network, Plain
from tests.helpers.pt2_files import (
    DECLARED,
    HIDDEN,
    INPUTS,
    MODEL,
    WEIGHTS,
    archive,
    changed,
    members,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "wm.pt2"
    export_world_model(Network("mean", "var"), path, observation_size=3, action_size=2)
    return path


def test_rewriting_an_archive_changes_nothing(good: Path, tmp_path: Path) -> None:
    path = changed(good, tmp_path, MODEL, lambda data: None)
    x, u = torch.randn(5, 3), torch.randn(5, 2)
    ours, again = load_world_model(good), load_world_model(path)
    for a, b in zip(ours.conditional(x, u), again.conditional(x, u), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    theirs = torch.export.load(path).module()(x, u)
    torch.testing.assert_close(again.conditional(x, u).mean, theirs[0])


def hostile(place: str, good: Path, tmp_path: Path) -> tuple[Path, Path]:
    """An archive, and the folder that it makes if anything in it runs."""
    folder = tmp_path / place.replace(" ", "-")
    folder.mkdir()
    content, target = members(good), folder / "was_run"
    HIDDEN[place][0](content, target)
    return archive(folder / "wm.pt2", content), target


@pytest.mark.parametrize("place", HIDDEN)
def test_nothing_in_a_file_runs(place: str, good: Path, tmp_path: Path) -> None:
    """Either the place is never looked at, or the file is refused."""
    path, target = hostile(place, good, tmp_path)
    sentence = HIDDEN[place][1]
    if sentence:
        with pytest.raises(InputError, match=sentence) as caught:
            load_world_model(path)
        assert "\n" not in str(caught.value)
    else:
        load_world_model(path).conditional(torch.zeros(1, 3), torch.zeros(1, 2))
    assert not target.exists()


@pytest.mark.long
def test_torchs_own_load_would_have_run_it(good: Path, tmp_path: Path) -> None:
    """So that the test above would see it. If this fails, torch has become safer."""
    files = [hostile(place, good, tmp_path) for place in HIDDEN]
    code = "import sys, torch\nfor path in sys.argv[1:]:\n"
    code += "    try: torch.export.load(path)\n    except Exception: pass\n"
    command = [sys.executable, "-c", code, *(str(path) for path, _ in files)]
    subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert [target.exists() for _, target in files] == [True] * len(HIDDEN)


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.randn_like.default",
        "torch.ops.aten.empty_like.default",
        "torch.ops.aten.relu_.default",
        "torch.ops.aten.add.out",
        "torch.ops.aten.silu.__init__",
        "torch.ops.prims.sin.default",
        "torch.ops.higher_order.cond",
        "_operator.attrgetter",
        "_operator.call",
        "math.sin",
        "#aoti.x",
        "x",
    ],
)
def test_calls_of_anything_else_are_refused(target: str, good: Path, tmp_path: Path) -> None:
    def change(data: Any) -> None:
        (silu,) = [n for n in data["graph_module"]["graph"]["nodes"] if "silu" in n["target"]]
        silu["target"] = target

    with pytest.raises(InputError, match=r"the program calls .*which (is none|this torch)"):
        load_world_model(changed(good, tmp_path, MODEL, change))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("data/aotinductor/model/x.so", "could run code: it is refused"),
        ("data/constants/custom_obj_0", "could run code: it is refused"),
        ("models/other.json", "could run code: it is refused"),
        ("data/sample_inputs/other.pt", "could run code: it is refused"),
    ],
)
def test_more_than_a_program_and_tensors_is_refused(
    name: str, sentence: str, good: Path, tmp_path: Path
) -> None:
    path = archive(tmp_path / "wm.pt2", {**members(good), name: b"x"})
    with pytest.raises(InputError, match=sentence):
        load_world_model(path)


def set_to(**values: Any) -> Callable[[Any], Any]:
    return lambda data: {**data, **values}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: [], "is not of the format 'imagine-exported-world-model'"),
        (set_to(format="x"), "is not of the format"),
        (set_to(version=2), "has version 2 and this imagine reads version 1"),
        (set_to(in_keys=None), "has no in_keys"),
        (set_to(in_keys=["observation"]), "an input that is not declared"),
        (set_to(in_keys=["observation", "state"]), "too early|reads 'observation'"),
        (set_to(out_keys=["x", "y"]), "writes one mean of the next observation"),
        (set_to(out_keys=[3, 4]), "not keys"),
        (set_to(out_keys=[["next", "observation", "mean"]]), "an out_key for each output"),
        (set_to(observation_size="3"), "needs observation_size and action_size"),
        (set_to(observation_size=4), "fails at 2 points|mean of shape"),
        (set_to(observation_size=10**9), "needs observation_size and action_size"),
        (set_to(dtype="float16"), "needs a dtype of float32 or float64"),
        (set_to(difference="yes"), "whether it predicts the difference"),
        (set_to(process_noise=[1, 1, 1]), "gives no var of its own"),
        (set_to(env=3), "can't be read as an exported program"),
    ],
)
def test_declarations_that_do_not_fit(
    change: Callable[[Any], Any], sentence: str, good: Path, tmp_path: Path
) -> None:
    path = changed(good, tmp_path, DECLARED, change)
    with pytest.raises(InputError, match=sentence) as caught:
        load_world_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_without_a_declaration_or_of_another_torch(good: Path, tmp_path: Path) -> None:
    content = members(good)
    del content[DECLARED]
    with pytest.raises(InputError, match="make it with imagine_cli.export_world_model"):
        load_world_model(archive(tmp_path / "wm.pt2", content))
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as old:
        old.writestr("version", "8.8")
        old.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(InputError, match=r"by a torch before 2\.8"):
        load_world_model(tmp_path / "old.pt2")


def test_an_archive_that_swells_is_refused(good: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wm.pt2", "w", zipfile.ZIP_DEFLATED) as swelling:
        for name, data in members(good).items():
            swelling.writestr(f"wm/{name}", bytes(2**24) if name == INPUTS else data)
    with pytest.raises(InputError, match="far more than it has: refused"):
        load_world_model(tmp_path / "wm.pt2")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sizes", [{"as_int": 10**12}, {"as_int": 5}]),
        ("sizes", [{"as_int": -1}, {"as_int": 5}]),
        ("strides", [{"as_int": 0}, {"as_int": 0}]),
        ("strides", [{"as_int": 10**9}, {"as_int": 1}]),
        ("storage_offset", {"as_int": 1}),
        ("storage_offset", {"as_expr": {"expr_str": "1"}}),
        ("dtype", 99),
    ],
)
def test_tensors_that_do_not_fit_their_bytes(
    key: str, value: Any, good: Path, tmp_path: Path
) -> None:
    def change(data: Any) -> None:
        data["config"]["module.body.0.weight"]["tensor_meta"][key] = value

    path = changed(good, tmp_path, WEIGHTS, change)
    if key == "strides" and value[0] == {"as_int": 0}:  # one number, (50, 5) times: no harm
        assert load_world_model(path).tensor_0.unique().numel() == 1
        return
    with pytest.raises(InputError, match=r"wm\.pt2 can't be"):
        load_world_model(path)


def test_a_program_that_wants_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.pt2"
    module = Plain(lambda x, u: x + torch.full((3,), 0.5))
    export_world_model(module, path, observation_size=3, action_size=2)

    def change(data: Any) -> None:
        text = json.dumps(data)
        assert '"as_ints": [3]' in text
        return json.loads(text.replace('"as_ints": [3]', f'"as_ints": [{10**15}]'))

    with pytest.raises(InputError, match="it computes more than 67108864 numbers"):
        load_world_model(changed(path, tmp_path, MODEL, change))


def paths(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value in nested JSON is."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in items:
        found.append((*here, key))
        if isinstance(value, (dict, list)):
            found += paths(value, (*here, key))
    return found


def test_factors_that_do_not_fit_are_refused(good: Path, tmp_path: Path) -> None:
    """Although both would be of eight columns once they are padded."""

    def change(data: Any) -> None:
        (cat,) = [n for n in data["graph_module"]["graph"]["nodes"] if "cat" in n["target"]]
        cat["inputs"][0]["arg"]["as_tensors"].pop()  # 3 columns in place of 5

    with pytest.raises(InputError, match="its program fails at 2 points"):
        load_world_model(changed(good, tmp_path, MODEL, change))


VALUES: list[Any] = [None, -1, 0, 10**6, 2.5, "", "x", "observation", [], {}, {"as_int": 2}, [1]]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_tampering_gives_a_sentence_or_a_usable_model(
    good: Path, tmp_path: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([MODEL, WEIGHTS, DECLARED]))

    def change(content: Any) -> None:
        if name == MODEL:
            content = content["graph_module"]
            content = data.draw(st.sampled_from([content["graph"], content["signature"]]))
        *most, last = data.draw(st.sampled_from(paths(content)))
        for key in most:
            content = content[key]
        content[last] = data.draw(st.sampled_from(VALUES))

    path = changed(good, tmp_path, name, change)
    try:
        model = load_world_model(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert isinstance(model, ExportedWorldModel)
        size, actions = model.observation_size, model.action_size
        at = model.conditional(torch.zeros(3, size), torch.zeros(3, actions))
        assert at.mean.shape == (3, size)


def test_our_own_format_is_checked_as_strictly(good: Path) -> None:
    model = load_world_model(good)
    config, state = model.config(), dict(model.state_dict())
    program = config["program"]

    def refused(sentence: str, **changes: Any) -> None:
        with pytest.raises(InputError, match=sentence):
            ExportedWorldModel.from_config({**config, **changes}, state)

    call = ["aten.add.Tensor", [{"value": "observation"}, 1], {}, "x"]
    for step, sentence in (
        (["os.system", ["x"], {}, "x"], "calls 'os.system'"),
        ([["aten.add"], [], {}, "x"], "which is no operator"),
        (["aten.add.Tensor", [{"value": "y"}, 1], {}, "x"], "needs 'y' too early"),
        (["aten.add.Tensor", [{"value": ["observation"]}], {}, "x"], "too early"),
        (["aten.add.Tensor", ["import os; x"], {}, "x"], "has an argument"),
        (["aten.add.Tensor", [{"dtype": "os"}], {}, "x"], "has an argument"),
        ([*call[:3], 3], "output without a name"),
        (call[:3], "is no .operator"),
        (["aten.add.Tensor", 3, {}, "x"], "has no arguments"),
    ):
        refused(sentence, program={"steps": [step], "outputs": program["outputs"]})
    refused("computes no output 'y'", program={"steps": [], "outputs": ["y"]})
    refused("computes no output", program={"steps": [], "outputs": [["y"]]})
    refused("must be a list of up to", program={"steps": [call] * 20_001, "outputs": ["x"]})
    refused("needs steps and outputs", program=[])
    for name in ("forward", "a.b", ""):
        with pytest.raises(InputError, match="tensors of an exported model are tensor_0"):
            ExportedWorldModel.from_config(config, {**state, name: torch.zeros(1)})
