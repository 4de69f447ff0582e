"""World models in ONNX files: torch's numbers, without derivatives, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagine_cli import (
    InputError,
    convert_world_model,
    load_world_model,
    open_rollout,
    optimize_policy,
    run_rollout,
)
from imagine_cli.belief import ActionBelief, point
from imagine_cli.cli import main
from imagine_cli.fitting import calibrate_world_model
from imagine_cli.propagation import fitting
from tests.helpers.exported_modules import Network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402 (only where it is there)

A = np.random.default_rng(0).normal(size=(3, 3)) * 0.5
B = np.random.default_rng(1).normal(size=(1, 3))


def graph(
    path: Path, *, inputs: tuple[str, ...] = ("observation", "action"), rows: Any = "n",
    kind: int = TensorProto.FLOAT, mean: str = "delta", spread: str = "logvar",
) -> Path:  # fmt: skip
    """``A x + B u`` and its log variances ``-A x``, written by hand."""
    dtype = np.float32 if kind == TensorProto.FLOAT else np.float64
    nodes = [
        helper.make_node("MatMul", [inputs[0], "a"], ["ax"]),
        helper.make_node("MatMul", [inputs[1], "b"], ["bu"]),
        helper.make_node("Add", ["ax", "bu"], [mean]),
        helper.make_node("Neg", ["ax"], [spread]),
    ]
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes, "model",
        [value(name, kind, [rows, size]) for name, size in zip(inputs, (3, 1), strict=True)],
        [value(name, kind, [rows, 3]) for name in (mean, spread)],
        [numpy_helper.from_array(w.astype(dtype), n) for n, w in (("a", A.T), ("b", B))],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("rows", ["n", 1])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_it_says_what_torch_says(rows: Any, kind: int, tmp_path: Path) -> None:
    model = load_world_model(graph(tmp_path / "m.onnx", rows=rows, kind=kind))
    dtype = torch.float32 if kind == TensorProto.FLOAT else torch.float64
    assert (model.dtype, fitting(model)) == (dtype, ["unscented", "particles"])
    x, u = torch.randn(4, 10, 3, dtype=dtype), torch.randn(4, 10, 1, dtype=dtype)
    at = model.conditional(x, u)
    ax = x @ torch.tensor(A, dtype=dtype).mT
    torch.testing.assert_close(at.mean, x + ax + u @ torch.tensor(B, dtype=dtype))
    torch.testing.assert_close(at.var, (-ax).exp())
    alone = model.conditional(x[2, 3:5], u[2, 3:5])
    assert torch.equal(alone.mean, at.mean[2, 3:5])


@pytest.mark.parametrize("propagation", ["unscented", "particles"])
def test_a_rollout_is_that_of_the_same_module(propagation: str, tmp_path: Path) -> None:
    """The same random numbers, and nothing else but rounding."""

    class Same(torch.nn.Module):
        def forward(self, x: torch.Tensor, u: torch.Tensor) -> Any:
            ax = x @ torch.tensor(A.T, dtype=x.dtype)
            return ax + u @ torch.tensor(B, dtype=x.dtype), -ax

    source, files = graph(tmp_path / "m.onnx"), {}
    program = torch.export.export(Same(), (torch.randn(5, 3), torch.randn(5, 1)))
    torch.export.save(program, tmp_path / "m.pt2")
    convert_world_model(tmp_path / "m.pt2", tmp_path / "m.pt", outputs=["delta", "logvar"])
    for model in (source, tmp_path / "m.pt"):
        given: Any = {"steps": 4, "trajectories": 3, "propagation": propagation, "reward": "env"}
        run_rollout("Pendulum-v1", model, output=tmp_path / "r.h5", overwrite=True, **given)
        with open_rollout(tmp_path / "r.h5") as rollout:
            files[model] = {name: rollout.numbers(name) for name in rollout.datasets}
    one, other = files.values()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-3, atol=1e-3)


@pytest.mark.long
def test_what_torch_exports(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    module, path = Network("mean", "var", "reward"), tmp_path / "m.onnx"
    given, rows = (torch.randn(5, 3), torch.randn(5, 2)), torch.export.Dim("rows")
    torch.onnx.export(
        module, given, path, input_names=["observation", "action"], dynamo=True,
        output_names=["mean", "var", "reward"], dynamic_shapes=({0: rows}, {0: rows}),
        external_data=False,
    )  # fmt: skip
    at = load_world_model(path).conditional(*given)
    mean, var, reward = module(*given)
    torch.testing.assert_close(at.mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(at.var, var, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(at.reward_mean, reward[:, 0], rtol=1e-4, atol=1e-5)


def test_what_needs_derivatives_or_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path, new = graph(tmp_path / "m.onnx"), tmp_path / "new.pt"
    with pytest.raises(InputError, match="does not fit .* 'onnx'; use unscented, particles"):
        run_rollout("Pendulum-v1", path, propagation="linearized", output=tmp_path / "r.h5")
    with pytest.raises(InputError, match="has no derivatives, which a policy search follows"):
        optimize_policy("Pendulum-v1", path, output=new, reward="env")
    for refuse in (
        convert_world_model,
        lambda one, new: calibrate_world_model(one, new, data=[]),
    ):
        with pytest.raises(InputError, match="stays the file that it is, which goes to --model"):
            refuse(path, new)
    with pytest.raises(InputError, match="has no derivatives"):
        load_world_model(path).predict(point(torch.zeros(1, 3)), ActionBelief(torch.zeros(1, 1)))
    graph_of = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    held = {"format": "imagine-world-model", "version": 1, "kind": "onnx", "env": {}}
    torch.save({**held, "config": {}, "metadata": {}, "state_dict": {"graph": graph_of}}, new)
    with pytest.raises(InputError, match="read from a .onnx file alone"):
        load_world_model(new)


def test_graphs_that_can_not_be_used(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    for made, sentence in (
        (
            {"inputs": ("obs", "act")},
            r"takes \['obs', 'act'\] and gives .*export it with input_nam",
        ),
        ({"mean": "y", "spread": "z"}, "output_names of mean, delta"),
        ({"mean": "var"}, "one mean of the next observation"),
        ({"kind": TensorProto.INT32}, "onnxruntime can't run it"),
    ):
        graph(path, **made)
        with pytest.raises(InputError, match=sentence) as caught:
            load_world_model(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    model = onnx.load(graph(path))
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(InputError, match="keeps tensors in other files"):
        load_world_model(path)
    good, g = graph(path).read_bytes(), np.random.default_rng(0)
    for k in range(60):
        content = bytearray(good)
        for at in g.integers(len(good), size=3):
            content[at] = g.integers(256)
        path.write_bytes(content[: g.integers(1, len(good)) if k % 3 == 0 else None])
        try:
            load_world_model(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert str(path) in str(error)  # noqa: PT017


def test_without_the_extra_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(graph(tmp_path / "m.onnx"))
    assert main(["inspect", path]) == 0
    assert "unscented" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["inspect", path]) == 2
    error = capsys.readouterr().err
    assert "onnxruntime is not installed; run: pip install 'imagine-cli[onnx]'" in error
    assert len(error.splitlines()) == 1
