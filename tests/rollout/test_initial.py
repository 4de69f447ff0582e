from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_cli import InputError, open_rollout
from imagine_cli.environments import EnvDescription, describe, make_env, real_resets, reset_seed
from imagine_cli.rollout.initial import make_initial
from imagine_cli.seeds import Stream
from tests.helpers.rollout_files import numbers, write

ENV = make_env("Pendulum-v1")
PENDULUM = describe(ENV)


def start(spec: str, count: int = 4, description: EnvDescription = PENDULUM, seed: int = 0) -> Any:
    return make_initial(spec, ENV, description, seed=seed, count=count)


def test_each_trajectory_has_a_real_reset_of_its_own() -> None:
    mean, var = start("reset")(0, 4)
    assert mean.shape == (4, 3)
    assert not var.any()
    for k in range(4):
        assert np.array_equal(mean[k], ENV.reset(seed=reset_seed(0, k))[0])
    # the same whatever the batch it is asked for in
    assert np.array_equal(start("reset")(2, 2)[0], mean[2:])
    assert not np.array_equal(start("reset", seed=1)(0, 4)[0], mean)
    assert len(np.unique(mean, axis=0)) == 4


def test_belief_is_the_gaussian_of_many_resets() -> None:
    mean, var = start("belief")(0, 2)
    # Pendulum-v1: an angle in ±π and a velocity in ±1, both uniform; 4 standard errors.
    assert np.abs(mean[0]).max() < 4 * np.sqrt(0.5 / 2048)
    error = 4 * np.sqrt([1 / 8, 1 / 8, 4 / 45]) / np.sqrt(2048)
    assert (np.abs(var[0].diagonal() - [1 / 2, 1 / 2, 1 / 3]) < error).all()
    assert np.abs(var[0] - np.diag(var[0].diagonal())).max() < 4 * np.sqrt(0.25 / 2048)
    assert var.shape == (2, 3, 3)


def test_belief_is_the_same_for_every_seed_and_of_resets_of_its_own() -> None:
    beliefs = [start("belief", seed=seed)(0, 1) for seed in (0, 1)]
    assert np.array_equal(beliefs[0][0], beliefs[1][0])
    assert np.array_equal(beliefs[0][1], beliefs[1][1])
    resets = real_resets(ENV, 0, 0, 2048)
    assert not np.isin(real_resets(ENV, 0, 0, 2048, Stream.INITIAL_BELIEF), resets).all(-1).any()


def test_mean_and_var_as_text() -> None:
    mean, var = start("mean=1,0,-0.5")(1, 2)
    assert np.array_equal(mean, [[1, 0, -0.5]] * 2)
    assert not var.any()
    mean, var = start("mean=1, 0, 0 ; var = .1,.2,.3")(0, 1)
    assert np.array_equal(var[0], np.diag([0.1, 0.2, 0.3]))
    _, var = start("mean=1,0,0;var=2,1,0,1,2,0,0,0,1")(0, 1)
    assert np.array_equal(var[0], [[2, 1, 0], [1, 2, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("nowhere", r"no start 'nowhere': use reset, belief"),
        ("mean=1,0", r"means of shape \(1, 2\), but an observation of Pendulum-v1 is 3 numbers"),
        ("mean=a,b,c", r"'a,b,c' are not numbers"),
        ("mean=1,0,0;var=1,1", r"variances of shape \(2,\); it must be 3 variances"),
        ("mean=1,0,0;var=1,1,-1", r"a variance is negative"),
        ("mean=1,0,0;sd=1,1,1", r"'sd' is not one mean=\.\.\. and one var"),
        ("mean=1,0,0;mean=1,0,0", r"'mean' is not one"),
        ("mean=1,0,nan", r"not every number is finite"),
        ("mean=1,0,0;var=1,2,0,0,1,0,0,0,1", r"not symmetric"),
        ("mean=1,0,0;var=1,2,0,2,1,0,0,0,1", r"not positive semi-definite"),
    ],
)
def test_specs_that_make_no_sense(spec: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        start(spec)


def test_files(tmp_path: Path) -> None:
    one, many = np.array([1.0, 0, 0]), np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "many.npy", many)
    np.savetxt(tmp_path / "many.csv", many, delimiter=",")
    np.savez(tmp_path / "belief.npz", mean=one, var=np.eye(3))
    np.savez(tmp_path / "beliefs.npz", mean=many, var=np.ones((4, 3)))
    assert np.array_equal(start(str(tmp_path / "one.npy"))(2, 2)[0], [one, one])
    for name in ("many.npy", "many.csv"):
        assert np.array_equal(start(str(tmp_path / name))(1, 2)[0], many[1:3])
    mean, var = start(str(tmp_path / "belief.npz"))(0, 2)
    assert np.array_equal(mean, [one, one])
    assert np.array_equal(var, [np.eye(3)] * 2)
    assert np.array_equal(start(str(tmp_path / "beliefs.npz"))(0, 4)[1], [np.eye(3)] * 4)
    with pytest.warns(UserWarning, match="starts for 4 trajectories; the first 2 are used"):
        assert np.array_equal(start(str(tmp_path / "many.npy"), count=2)(0, 2)[0], many[:2])
    with pytest.warns(UserWarning, match="starts for 4 trajectories; the first is used"):
        assert np.array_equal(start(str(tmp_path / "many.npy"), count=1)(0, 1)[0], many[:1])
    with pytest.raises(InputError, match="starts for 4 trajectories and 5 are needed"):
        start(str(tmp_path / "many.npy"), count=5)
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    with pytest.raises(InputError, match="can't be read"):
        start(str(tmp_path / "object.npy"))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    with pytest.raises(InputError, match="its mean holds <U1, not real numbers"):
        start(str(tmp_path / "text.npy"))
    np.savez(tmp_path / "no.npz", x=one)
    with pytest.raises(InputError, match="no array named mean"):
        start(str(tmp_path / "no.npz"))
    (tmp_path / "a.txt").write_text("1,0,0")
    with pytest.raises(InputError, match=r"a start is a \.npy"):
        start(str(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"mean": np.zeros(3, complex)}, "its mean holds complex128, not real numbers"),
        ({"mean": np.zeros(3), "var": "much"}, "its var holds <U4, not real numbers"),
        ({"mean": np.zeros(3), "var": 1j * np.ones(3)}, "its var holds complex128"),
        ({"mean": np.zeros((3, 3)), "var": np.eye(3)}, r"may be .* give .* of shape \(3, 3, 3\)"),
    ],
)
def test_files_that_make_no_sense(arrays: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=sentence):
        start(str(tmp_path / "bad.npz"), count=3)


def test_files_that_unpack_to_far_more_than_a_belief(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1," * 2**23 + b"1\n")
    with pytest.raises(InputError, match="has 16 MiB of text, more than the 16 MiB that are read"):
        start(str(tmp_path / "a.csv"))
    np.savez_compressed(tmp_path / "a.npz", mean=np.zeros(2**25 + 2**20))
    with pytest.raises(InputError, match=r"mean\.npy unpacks to \d+ bytes, far more than the file"):
        start(str(tmp_path / "a.npz"))


def test_covariances_for_as_many_trajectories_as_dimensions(tmp_path: Path) -> None:
    var = np.stack([np.eye(3), 2 * np.eye(3), np.diag([1.0, 2, 3])])
    np.savez(tmp_path / "a.npz", mean=np.zeros((3, 3)), var=var)
    assert np.array_equal(start(str(tmp_path / "a.npz"), count=3)(0, 3)[1], var)


def test_a_rollout_s_own_rounding_is_no_fault_of_its_covariances(tmp_path: Path) -> None:
    """Covariances of rank 1, rounded to float32, have eigenvalues some 1e-8 below zero."""
    arrays = numbers(20, 1)
    spread = np.random.default_rng(0).normal(size=(20, 2, 3))
    arrays["observation/var"] = spread[..., :, None] * spread[..., None, :]
    write(tmp_path / "r.h5", arrays, dtype=np.float32)
    with open_rollout(tmp_path / "r.h5") as rollout:
        kept = rollout.var(step=1).astype(np.float64)
    assert (np.linalg.eigvalsh(kept)[:, 0] < -2e-8 * np.abs(kept).max((1, 2))).any()
    _, var = start(str(tmp_path / "r.h5"), count=20)(0, 20)
    scale = np.abs(var).max((1, 2))
    assert (np.linalg.eigvalsh(var)[:, 0] > -1.5e-8 * scale).all()
    assert (np.abs(var - kept).max((1, 2)) < 1e-6 * scale).all()
    arrays["observation/var"] -= 1e-3 * np.eye(3)
    write(tmp_path / "worse.h5", arrays, dtype=np.float32)
    with pytest.raises(InputError, match="not positive semi-definite"):
        start(str(tmp_path / "worse.h5"), count=20)
