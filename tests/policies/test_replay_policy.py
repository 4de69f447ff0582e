from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from imagine_cli.belief import point
from imagine_cli.environments import EnvDescription
from imagine_cli.errors import InputError
from imagine_cli.policies import Policy, make_policy
from imagine_cli.policies.blocks import BLOCK
from tests.helpers.acting import act, actions_of
from tests.helpers.policy_envs import INF, box_env, discrete_env
from tests.helpers.rollout_files import numbers, write_plainly

FREE = box_env((-INF, -INF), (INF, INF))
TMP = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def replay(policy: Policy, steps: int, first: int, count: int) -> np.ndarray:
    policy.check(steps, first + count)
    return actions_of(policy, range(steps), first, count, 3).numpy()


def save(path: Path, values: np.ndarray) -> str:
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".csv":
        path.write_text("\n".join(",".join(map(repr, map(float, row))) for row in values))
    else:
        b, t, f = values.shape
        write_plainly(path, {**numbers(b, t, f=f), "action/mean": values})
    return str(path)


@pytest.mark.parametrize("ending", [".npy", ".csv"])
def test_one_row_of_actions_serves_every_trajectory(tmp_path: Path, ending: str) -> None:
    values = np.random.default_rng(0).normal(size=(2 * BLOCK + 9, 2))
    policy = make_policy(save(tmp_path / f"a{ending}", values), FREE, seed=0)
    assert policy.name == str(tmp_path / f"a{ending}")
    got = replay(policy, len(values), 4, 3)
    for row in got:
        np.testing.assert_array_equal(row, values)
    assert act(policy, 2, point(torch.zeros(3, 3))).mean.dtype == torch.float32


@pytest.mark.parametrize("ending", [".npy", ".h5", ".HDF5"])
def test_trajectory_i_replays_row_i(tmp_path: Path, ending: str) -> None:
    values = np.random.default_rng(0).normal(size=(5, BLOCK + 9, 2))
    policy = make_policy(save(tmp_path / f"a{ending}", values), FREE, seed=0)
    np.testing.assert_array_equal(replay(policy, BLOCK + 9, 0, 5), values)
    np.testing.assert_array_equal(replay(policy, 7, 2, 3), values[2:, :7])
    np.testing.assert_array_equal(replay(policy, BLOCK + 9, 3, 1), values[3:4])


@TMP
@given(
    values=arrays(
        st.sampled_from(["<f8", ">f8", "<f4", "<f2", "<i4", ">i2", "|u1"]),
        array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
        elements=st.integers(0, 100),
    ),
    order=st.sampled_from("CF"),
)
def test_any_array_replays_or_is_refused(tmp_path: Path, values: np.ndarray, order: str) -> None:
    path = save(tmp_path / "a.npy", np.asarray(values, order=order))
    fits = values.ndim in (2, 3) and values.size > 0 and values.shape[-1] == 2
    if not fits:
        with pytest.raises(InputError, match=r"a\.npy"):
            make_policy(path, FREE, seed=0)
        return
    policy = make_policy(path, FREE, seed=0)
    rows = values.shape[0] if values.ndim == 3 else 2
    expected = np.broadcast_to(values, (rows, *values.shape[-2:]))
    np.testing.assert_array_equal(replay(policy, values.shape[-2], 0, rows), expected)


@TMP
@given(
    rows=st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=1, max_size=9),
    header=st.booleans(),
    ending=st.sampled_from(["\n", "\r\n"]),
    blank=st.booleans(),
    mark=st.booleans(),
)
def test_csv_comes_back_to_the_bit(
    tmp_path: Path,
    rows: list[tuple[float, float]],
    header: bool,
    ending: str,
    blank: bool,
    mark: bool,
) -> None:
    lines = ['joint, "the other"'] if header else []
    lines += [f"{a!r}, {b!r}" for a, b in rows] + [""] * blank
    text = ("\ufeff" if mark else "") + ending.join(lines)
    (tmp_path / "a.csv").write_bytes(text.encode())
    policy = make_policy(str(tmp_path / "a.csv"), FREE, seed=0)
    np.testing.assert_array_equal(replay(policy, len(rows), 0, 1)[0], np.array(rows))


@pytest.mark.parametrize("ending", [".npy", ".csv", ".h5"])
def test_discrete_actions_by_number_and_one_hot(tmp_path: Path, ending: str) -> None:
    env = discrete_env(2, 3)
    chosen = np.array([[0, 0], [1, 2], [0, 1]])
    codes = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 1, 0]])
    for values in (chosen, codes, codes.astype(np.float32)):
        values = np.stack([values, values]) if ending == ".h5" else values
        policy = make_policy(save(tmp_path / f"a{ending}", values), env, seed=0)
        np.testing.assert_array_equal(replay(policy, 3, 0, 2), np.stack([codes, codes]))


def test_shapes_of_single_numbers(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.array([1.0, -0.5]))
    got = replay(make_policy(path, box_env(), seed=0), 2, 0, 2)
    np.testing.assert_array_equal(got, [[[1.0], [-0.5]]] * 2)
    path = save(tmp_path / "b.npy", np.array([2, 0]))
    expected = [[[0, 0, 1], [1, 0, 0]]]
    np.testing.assert_array_equal(
        replay(make_policy(path, discrete_env(3), seed=0), 2, 0, 1), expected
    )
    path = save(tmp_path / "c.npy", np.array([[[2], [0]]]))
    np.testing.assert_array_equal(
        replay(make_policy(path, discrete_env(3), seed=0), 2, 0, 1), expected
    )


def test_too_short_and_too_few(tmp_path: Path) -> None:
    policy = make_policy(save(tmp_path / "a.npy", np.zeros((3, 5, 2))), FREE, seed=0)
    policy.check(5, 3)
    with pytest.raises(InputError, match=r"holds 5 steps of actions and 6 are needed; give --st"):
        policy.check(6, 1)
    with pytest.raises(InputError, match=r"for 3 trajectories and 4 are needed; give --traject"):
        policy.check(1, 4)
    with pytest.raises(InputError, match=r"for 3 trajectories and 4 are needed"):
        act(policy, 0, point(torch.zeros(2, 3)), first=2)
    with pytest.raises(InputError, match=r"holds 5 steps of actions, no more"):
        act(policy, 5, point(torch.zeros(1, 3)))


def test_what_is_not_used_may_be_anything(tmp_path: Path) -> None:
    values = np.zeros((2, 3, 2))
    values[1, 2, 0] = math.nan
    policy = make_policy(save(tmp_path / "a.npy", values), FREE, seed=0)
    policy.check(2, 2)
    policy.check(3, 1)
    with pytest.raises(
        InputError, match=r"action of trajectory 1 at step 2 .*\[nan, 0\], is not f"
    ):
        policy.check(3, 2)


@pytest.mark.parametrize(
    ("values", "env", "sentence"),
    [
        ([[0.0, math.inf]], FREE, r"a\.npy: the action at step 0 .*\[0, inf\], is not finite"),
        ([[1.0], [2.5]], box_env(), r"at step 1 .*\[2.5\], is outside the bounds \[-2\] to \[2\]"),
        ([0, 2], discrete_env(2), r"at step 1 .*\[2\], is not made of integers from 0 to \[1\]"),
        ([0, -1], discrete_env(2), r"\[-1\], is not made of integers"),
        ([0, 0.5], discrete_env(2), r"\[0.5\], is not made of integers"),
        ([[1, 1]], discrete_env(2), r"\[1, 1\], is not one-hot over \[2\]"),
        ([[0, 0]], discrete_env(2), r"is not one-hot"),
        ([[0.5, 0.5]], discrete_env(2), r"is not one-hot"),
    ],
)
def test_values_that_are_no_actions(
    tmp_path: Path, values: list[object], env: EnvDescription, sentence: str
) -> None:
    policy = make_policy(save(tmp_path / "a.npy", np.array(values)), env, seed=0)
    with pytest.raises(InputError, match=sentence):
        policy.check(len(values), 1)
    with pytest.raises(InputError, match=sentence):
        act(policy, 0, point(torch.zeros(1, 3)))


@pytest.mark.parametrize(
    ("values", "env", "sentence"),
    [
        (np.zeros((4, 3)), FREE, r"actions of 3 numbers \(shape \(4, 3\)\); .* have 2"),
        (np.zeros(4), FREE, r"actions of 1 numbers"),
        (np.zeros((4, 4)), discrete_env(2, 3), r"actions of 4 numbers .* have 2 or 5"),
        (np.zeros((0, 2)), FREE, r"holds no actions \(its shape is \(0, 2\)\)"),
        (np.float64(3.0), FREE, r"has the shape \(\)"),
        (np.zeros((1, 1, 1, 2)), FREE, r"actions have the shape \(steps, F\)"),
        (np.zeros((2, 2), dtype=complex), FREE, r"holds complex128, not real numbers"),
        (np.array(["a", "b"]), FREE, r"holds <U1, not real numbers"),
        (np.array([None, 1]), FREE, r"can't be read \(it holds Python objects\)"),
    ],
)
def test_arrays_that_are_no_actions(
    tmp_path: Path, values: np.ndarray, env: EnvDescription, sentence: str
) -> None:
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(InputError, match=sentence):
        make_policy(str(tmp_path / "a.npy"), env, seed=0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1,2\n3,x\n", r"a\.csv, line 2: 'x' is not a number"),
        ("1,x\n", r"line 1: 'x' is not a number"),
        ("a,b\nc,d\n", r"line 2: 'c' is not a number"),
        ("1,2\n\n3\n", r"line 3: 1 columns where the lines before have 2"),
        ("1;2\n3;4\n", r"line 2: '3;4' is not a number"),
        ("a,b\n", r"holds no actions"),
        ("", r"holds no actions"),
        ("1_0,2\n", r"line 1: '1_0' is not a number"),
    ],
)
def test_text_that_is_no_actions(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        make_policy(str(tmp_path / "a.csv"), FREE, seed=0)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe1,2\n")
    with pytest.raises(InputError, match=r"not CSV text"):
        make_policy(str(tmp_path / "a.csv"), FREE, seed=0)


@TMP
@given(data=st.data(), ending=st.sampled_from([".npy", ".h5"]))
def test_damaged_files_give_a_sentence_or_numbers(
    tmp_path: Path, data: st.DataObject, ending: str
) -> None:
    path = tmp_path / f"a{ending}"
    save(path, np.ones((1, 4, 2)))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(content[:at])
        with pytest.raises(
            InputError, match=r"can't be read|is damaged|is empty|is not an HDF5 file"
        ):
            make_policy(str(path), FREE, seed=0).check(4, 1)
        return
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        actions = replay(make_policy(str(path), FREE, seed=0), 4, 0, 1)
    except InputError as error:
        assert path.name in str(error)  # noqa: PT017
    else:
        assert np.isfinite(actions).all()


def test_other_bytes_under_the_name(tmp_path: Path) -> None:
    for name in ("a.npy", "a.h5"):
        (tmp_path / name).write_bytes(b"what is this?" * 20)
        with pytest.raises(InputError, match=rf"{name} .*can't be read|{name} is not an HDF5"):
            make_policy(str(tmp_path / name), FREE, seed=0)


def test_a_rollout_replays_as_it_was_imagined(tmp_path: Path) -> None:
    path = save(tmp_path / "rollout.h5", np.array([[[5.0]]]))
    assert replay(make_policy(path, box_env(), seed=0), 1, 0, 1).item() == 5.0


def test_a_rollout_file_leads_nowhere_else(tmp_path: Path) -> None:
    """What :func:`open_rollout` refuses; its own tests have the rest."""
    path, other = tmp_path / "a.h5", tmp_path / "other.h5"
    save(other, np.ones((1, 4, 2)))
    rest = {name: values for name, values in numbers(1, 4).items() if not name.startswith("act")}
    write_plainly(path, rest)
    with pytest.raises(InputError, match="has no dataset action/mean, so that nothing can be re"):
        make_policy(str(path), FREE, seed=0)
    with h5py.File(path, "a") as file:
        file["action"] = h5py.ExternalLink("other.h5", "action")
    with pytest.raises(InputError, match="is a link to somewhere else, which is not followed"):
        make_policy(str(path), FREE, seed=0)


def test_a_huge_claim_costs_nothing(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        claim = {"descr": "<f8", "fortran_order": False, "shape": (10**11, 2)}
        np.lib.format.write_array_header_1_0(file, claim)
        file.write(bytes(64))
    with pytest.raises(InputError, match=r"it ends before its array does"):
        make_policy(str(tmp_path / "a.npy"), FREE, seed=0)
