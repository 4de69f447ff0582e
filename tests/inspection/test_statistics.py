from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_cli.environments import describe_named
from imagine_cli.errors import InputError
from imagine_cli.evaluation.real import RealRun, write_real
from imagine_cli.inspection.checks import Finding
from imagine_cli.inspection.statistics import compute, landmarks
from imagine_cli.recording import open_rollout, reader
from tests.helpers.rollout_files import Arrays, numbers, write, write_plainly


def direct(arrays: Arrays, trajectory: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The mean of means and the root mean square of standard deviations, ``(T+1, D)``."""
    chosen = slice(None) if trajectory is None else slice(trajectory, trajectory + 1)
    sd = np.sqrt(np.diagonal(arrays["observation/var"][chosen], axis1=-2, axis2=-1))
    return arrays["observation/mean"][chosen].mean(0), np.sqrt((sd**2).mean(0))


@pytest.mark.parametrize("trajectory", [None, 0, 6])
@pytest.mark.parametrize("slab", [1, 4000, 10**9])
@pytest.mark.parametrize("plainly", [False, True])
def test_they_are_those_of_numpy(
    tmp_path: Path,
    trajectory: int | None,
    slab: int,
    plainly: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrays = numbers(7, 101, 4)
    (write_plainly if plainly else write)(tmp_path / "r.h5", arrays)
    monkeypatch.setattr(reader, "_SLAB_BYTES", slab)
    shares: list[float] = []
    with open_rollout(tmp_path / "r.h5") as rollout:
        stats = compute(rollout, trajectory, bins=13, progress=shares.append)
    mean, sd = direct(arrays, trajectory)
    course = stats.observation
    assert list(course.steps) == [0, 25, 50, 76, 101]
    np.testing.assert_allclose(course.mean, mean[course.steps], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(course.sd, sd[course.steps], rtol=1e-13)
    assert len(course.course_mean) == 13
    assert (course.edges[0], course.edges[-1]) == (0, 102)
    for i, (first, end) in enumerate(zip(course.edges[:-1], course.edges[1:], strict=True)):
        np.testing.assert_allclose(course.course_mean[i], mean[first:end].mean(0), atol=1e-14)
        expected = np.sqrt((sd[first:end] ** 2).mean(0))
        np.testing.assert_allclose(course.course_sd[i], expected, rtol=1e-13)
    assert stats.reward is not None
    chosen = slice(None) if trajectory is None else slice(trajectory, trajectory + 1)
    reward = arrays["reward/mean"][chosen].mean(0)
    np.testing.assert_allclose(stats.reward.mean[:, 0], reward[[0, 25, 50, 75, 100]], rtol=1e-12)
    np.testing.assert_allclose(
        stats.reward.sd[:, 0],
        np.sqrt(arrays["reward/var"][chosen].mean(0))[[0, 25, 50, 75, 100]],
        rtol=1e-13,
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert stats.warnings == []


@settings(max_examples=80, deadline=None)
@given(length=st.integers(1, 60), stretches=st.integers(1, 60))
def test_condensing_averages_neighbours(length: int, stretches: int) -> None:
    from imagine_cli.inspection.statistics import Course

    rng = np.random.default_rng(length)
    values, spread = rng.normal(size=(length, 2)), rng.uniform(size=(length, 2))
    course = Course(np.array([0]), values[:1], spread[:1], np.arange(length + 1), values, spread)
    mean, sd = course.condensed(stretches)
    assert sd is not None
    assert len(mean) == len(sd) == min(length, stretches)
    pieces = np.array_split(np.arange(length), min(length, stretches))
    if length % min(length, stretches) == 0:
        np.testing.assert_allclose(mean, [values[piece].mean(0) for piece in pieces], atol=1e-14)
        expected = [np.sqrt((spread[piece] ** 2).mean(0)) for piece in pieces]
        np.testing.assert_allclose(sd, expected, rtol=1e-13)
    assert mean.min() >= values.min() - 1e-14
    assert mean.max() <= values.max() + 1e-14


@pytest.mark.parametrize(
    ("last", "steps"),
    [(0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (4, [0, 1, 2, 3, 4]), (50, [0, 12, 25, 38, 50])],
)
def test_landmarks(last: int, steps: list[int]) -> None:
    found = landmarks(last)
    assert found[0] == 0
    assert found[-1] == last
    assert set(found) <= set(steps)


def test_a_rollout_of_one_step(tmp_path: Path) -> None:
    arrays = numbers(2, 1)
    write(tmp_path / "r.h5", arrays)
    with open_rollout(tmp_path / "r.h5") as rollout:
        stats = compute(rollout)
    mean, sd = direct(arrays, None)
    np.testing.assert_allclose(stats.observation.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(stats.observation.sd, sd, rtol=1e-14)
    assert stats.reward is not None
    assert list(stats.reward.steps) == [0]


def test_no_such_trajectory(tmp_path: Path) -> None:
    write(tmp_path / "r.h5", numbers(2, 3))
    with open_rollout(tmp_path / "r.h5") as rollout:
        for number in (-1, 2):
            with pytest.raises(InputError, match=f"no trajectory {number}: it has"):
                compute(rollout, number)


def findings(
    path: Path, arrays: Arrays, trajectory: int | None = None, **header: object
) -> list[Finding]:
    write(path, arrays, header=header, overwrite=True)
    with open_rollout(path) as rollout:
        return compute(rollout, trajectory).warnings


def calm(b: int = 3, t: int = 40, d: int = 2) -> Arrays:
    """Beliefs that nothing is wrong with: small means, standard deviations of 0.1."""
    rng = np.random.default_rng(0)
    return {
        "observation/mean": rng.uniform(-0.5, 0.5, size=(b, t + 1, d)),
        "observation/var": np.broadcast_to(0.01 * np.eye(d), (b, t + 1, d, d)).copy(),
        "action/mean": rng.normal(size=(b, t, 1)),
    }


def test_nothing_is_said_of_good_beliefs(tmp_path: Path) -> None:
    assert findings(tmp_path / "r", calm(), observation_low=[-1, -1], observation_high=[1, 1]) == []


def test_rounding_in_single_precision_is_no_fault(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = calm(20, 50, 6)
    root = rng.normal(size=(20, 51, 6, 2))  # of rank 2: eigenvalues of zero, up to rounding
    arrays["observation/var"] = root @ root.swapaxes(-1, -2)
    write(tmp_path / "r.h5", arrays, dtype="float32")
    with open_rollout(tmp_path / "r.h5") as rollout:
        assert compute(rollout).warnings == []


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("observation/mean", (2, 31, 1)),
        ("observation/var", (2, 31, 0, 1)),
        ("action/mean", (2, 31, 0)),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_found(
    tmp_path: Path, name: str, place: tuple[int, ...], value: float
) -> None:
    arrays = calm()
    arrays[name][place] = value
    arrays[name][(*place[:1], place[1] + 1, *place[2:])] = value
    (finding,) = findings(tmp_path / "r", arrays)
    assert finding == (
        "not-finite",
        f"{name} has 2 numbers that are not finite, the first at trajectory 2, step 31",
    )
    assert findings(tmp_path / "r", arrays, trajectory=1) == []


def test_means_outside_the_space_are_found(tmp_path: Path) -> None:
    arrays = calm()
    arrays["observation/mean"][1, 7:10, 1] = [-1.25, -1.5, -1.0]
    arrays["observation/mean"][2, 3, 1] = 1.0 + 1e-9  # rounding
    bounds = {"observation_low": [-np.inf, -1], "observation_high": [np.inf, 1]}
    (finding,) = findings(tmp_path / "r", arrays, **bounds)
    assert finding.kind == "outside"
    assert finding.message == (
        "the mean of o1 is outside the observation space [-1, 1] at 2 of 123 steps, by up to 0.5, "
        "first at trajectory 1, step 7"
    )
    assert findings(tmp_path / "r", arrays, trajectory=0, **bounds) == []


def test_covariances_that_are_none_are_found(tmp_path: Path) -> None:
    arrays = calm()
    arrays["observation/var"][2, 40] = [[1.0, 2.0], [2.0, 1.0]]  # eigenvalues 3 and -1
    arrays["observation/var"][0, 5] = [[-0.01, 0.0], [0.0, 0.01]]
    arrays["observation/var"][1, 6] = [[0.01, 0.005], [0.0, 0.01]]
    found = findings(tmp_path / "r", arrays, trajectory=None)
    assert [finding.kind for finding in found] == ["not-psd"] * 3
    negative, asymmetric, indefinite = (finding.message for finding in found)
    assert negative == (
        "1 of 123 covariances have a variance below zero, the first at trajectory 0, step 5"
    )
    assert asymmetric == (
        "1 of 123 covariances looked at are not symmetric, the first at trajectory 1, step 6"
    )
    assert indefinite == (
        "2 of 123 covariances looked at are not positive semi-definite (an eigenvalue of -1 of "
        "the largest), the first at trajectory 0, step 5"
    )


def test_a_sample_of_a_long_rollout_sees_what_is_wrong_everywhere(tmp_path: Path) -> None:
    arrays = calm(2, 4000)
    arrays["observation/var"][1, -1] = [[1.0, 2.0], [2.0, 1.0]]  # the last is always looked at
    (finding,) = findings(tmp_path / "r", arrays)
    assert "1 of 1001 covariances looked at are not positive" in finding.message
    arrays["observation/var"][:, ::2] = [[0.01, 0.02], [0.02, 0.01]]
    found = findings(tmp_path / "r", arrays)
    count = int(found[0].message.split()[0])
    assert 450 < count < 550


@pytest.mark.parametrize(
    ("start", "first", "end", "scale", "bounds", "reason"),
    [
        (0.1, 0.1, 10.1, 1.0, np.inf, "101 times that at the start"),
        (0.1, 0.1, 9.9, 1.0, np.inf, None),
        (0.1, 0.1, 10.1, 200.0, np.inf, None),
        (0.0, 1e-3, 10.1, 1.0, np.inf, r"1.01e\+04 times that of the first step"),
        (0.0, 1e-3, 9.9, 1.0, np.inf, None),
        (0.0, 0.1, 2.1, 1.0, 1.0, r"wider than the whole observation space \(2\)"),
        (0.0, 0.1, 1.9, 1.0, 1.0, None),
    ],
)
def test_explosions(
    tmp_path: Path,
    start: float,
    first: float,
    end: float,
    scale: float,
    bounds: float,
    reason: str | None,
) -> None:
    arrays = calm(2, 10, 1)
    arrays["observation/mean"][:] = scale
    sd = np.full((2, 11), first)
    sd[:, 0], sd[:, 10] = start, end
    arrays["observation/var"] = (sd**2)[..., None, None]
    found = findings(tmp_path / "r", arrays, observation_low=[-bounds], observation_high=[bounds])
    if reason is None:
        assert found == []
    else:
        (finding,) = found
        assert finding.kind == "exploding"
        assert finding.message.startswith("the standard deviation of o0 explodes: at step 10 it")
        assert re.search(reason, finding.message)


def test_memory_does_not_grow_with_the_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_SLAB_BYTES", 2**18)
    peaks = []
    for steps in (20_000, 80_000):
        path = tmp_path / f"{steps}.h5"
        arrays = calm(2, steps)
        write_plainly(path, arrays)
        del arrays
        with open_rollout(path) as rollout:
            tracemalloc.start()
            compute(rollout)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_episodes_that_end(tmp_path: Path) -> None:
    """Returns and lengths of each, and a course as long as the longest."""
    observations = np.full((3, 21, 2), np.nan)
    rewards = np.full((3, 20), np.nan)
    for k, length in enumerate((2, 7, 4)):
        observations[k, : length + 1] = k
        rewards[k, :length] = k + 0.5
    run = RealRun(observations, np.zeros((3, 20, 1)), rewards, np.array([2, 7, 4]))
    about = replace(
        describe_named("Pendulum-v1"),
        observation_size=2,
        observation_names=["a", "b"],
        observation_low=np.full(2, -9.0),
        observation_high=np.full(2, 9.0),
    )
    write_real(run, tmp_path / "real.h5", about, policy="random", seed=0, command="")
    with open_rollout(tmp_path / "real.h5") as rollout:
        all_three, one = compute(rollout), compute(rollout, 2)
    assert all_three.lengths.tolist() == [2, 7, 4]
    assert all_three.returns is not None
    assert all_three.returns.tolist() == [1.0, 10.5, 10.0]
    assert all_three.observation.steps[-1] == 7
    assert np.isfinite(all_three.observation.course_mean).all()
    assert all_three.reward is not None
    assert all_three.reward.steps[-1] == 6
    assert not all_three.alike
    assert one.lengths.tolist() == [4]
    assert one.observation.steps.tolist() == [0, 1, 2, 3, 4]
