"""Policies in ONNX files: what our own export writes, what torch does, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from imagine_cli import export_policy
from imagine_cli.belief import Belief
from imagine_cli.errors import InputError
from imagine_cli.policies import MLPPolicy, make_policy
from imagine_cli.policies.base import PolicyContext
from tests.helpers.policy_envs import box_env, discrete_env

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402 (only where it is there)

ENV = box_env()


def graph(path: Path, weight: np.ndarray, rows: int | None = None, output: str = "action") -> str:
    """``u = x W`` written by hand."""
    size, actions = weight.shape
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], [output])],
        "policy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, size])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [rows, actions])],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return str(path)


@pytest.mark.long
@pytest.mark.parametrize("env", [box_env((-1.0, 0.0), (2.0, 0.5)), discrete_env(2, 3)])
def test_what_is_exported_acts_as_before(env: object, tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = MLPPolicy(env, [8], dtype=torch.float32)
    export_policy(policy, tmp_path / "p.onnx", env=env)
    read = make_policy(str(tmp_path / "p.onnx"), PolicyContext(env, dtype=torch.float32))
    x = torch.randn(40, 3)
    torch.testing.assert_close(read.at(x), policy.at(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [None, 1])
def test_a_belief_is_acted_on_at_its_mean(rows: int | None, tmp_path: Path) -> None:
    weight = np.array([[0.5], [-1.0], [2.0]])
    policy = make_policy(graph(tmp_path / "p.onnx", weight, rows), ENV)
    mean = torch.randn(5, 3, dtype=torch.float64)
    action, _ = policy.act(0, Belief(mean, torch.eye(3).double().expand(5, 3, 3)), {})
    torch.testing.assert_close(action.mean, mean @ torch.tensor(weight), rtol=1e-6, atol=1e-6)
    assert action.var is None
    assert not policy.gives_variance
    assert (policy.at(mean[2:3]) == policy.at(mean)[2]).all()


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    cases = {
        str(tmp_path / "bad.onnx"): "can't be used: ",
        graph(tmp_path / "wide.onnx", np.eye(3)): r"gives actions \(3,\), but env 'Test-v0'",
        graph(tmp_path / "tall.onnx", np.ones((4, 1))): "can't be used: .*INVALID_ARGUMENT",
        str(tmp_path / "none.onnx"): "there is no such file",
    }
    elsewhere = onnx.load(graph(tmp_path / "out.onnx", np.ones((3, 1))))
    onnx.save(
        elsewhere, tmp_path / "out.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    cases[str(tmp_path / "out.onnx")] = "it keeps tensors in other files, which are not opened"
    for path, sentence in cases.items():
        with pytest.raises(InputError, match=sentence):
            make_policy(path, ENV)
