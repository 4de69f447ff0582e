from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from imagine_cli import InputError, evaluate_model, run_rollout
from imagine_cli.cli import main
from imagine_cli.evaluation.compare import compare_rollouts
from imagine_cli.evaluation.two_samples import Power, compare_distributions
from tests.helpers.linear_world import ENV_ID, linear_model
from tests.helpers.rollout_files import numbers, write, write_plainly
from tests.helpers.worlds import small_gp


def pair(folder: Path, **changes: np.ndarray) -> tuple[Path, Path]:
    a, b = folder / "a.h5", folder / "b.h5"
    arrays = numbers(4, 9, 3, 2, p=5)
    write(a, arrays, overwrite=True)
    write(b, {**arrays, **changes}, overwrite=True)
    return a, b


DATASETS = list(numbers(1, 1, p=2))


def test_the_same_numbers_written_in_other_blocks_are_the_same(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    found = compare_rollouts(a, b)
    assert found.same
    assert found.notes == []


@pytest.mark.parametrize("dataset", DATASETS)
def test_one_changed_number_is_found_in_every_dataset(tmp_path: Path, dataset: str) -> None:
    arrays = numbers(4, 9, 3, 2, p=5)
    changed = arrays[dataset].copy()
    index = tuple(size - 1 for size in changed.shape)
    changed[index] += 1e-12
    a, b = pair(tmp_path, **{dataset: changed})
    (difference,) = compare_rollouts(a, b).differences
    assert (difference.dataset, difference.count, difference.total) == (dataset, 1, changed.size)
    assert difference.first == difference.largest
    assert difference.first is not None
    assert difference.first.index == index
    assert difference.first.a == arrays[dataset][index]
    assert difference.first.b == changed[index]
    assert compare_rollouts(a, b, atol=1e-11).same


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 2), st.floats(1e-6, 1e3)),
        min_size=1,
        max_size=6,
        unique_by=lambda change: change[:3],
    )
)
def test_first_and_largest_are_those(tmp_path: Path, changes: list[Any]) -> None:
    changed = numbers(4, 9, 3, 2, p=5)["observation/mean"]
    for k, step, d, by in changes:
        changed[k, step, d] += by
    a, b = pair(tmp_path, **{"observation/mean": changed})
    (difference,) = compare_rollouts(a, b).differences
    assert difference.count == len(changes)
    first = min(changes, key=lambda change: (change[1], change[0], change[2]))
    assert difference.first is not None
    assert difference.first.index == first[:3]
    assert difference.largest is not None
    assert difference.largest.size == pytest.approx(max(c[3] for c in changes), rel=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "rtol", "atol", "same"),
    [
        (1.0, 1.0 + 1e-9, 0, 0, False),
        (1.0, 1.0 + 1e-9, 1e-8, 0, True),
        (100.0, 100.9, 0, 1, True),
        (100.0, 101.1, 0, 1, False),
        (100.0, 101.0, 0.01, 0, True),  # of the larger one, whichever file it is in
        (101.0, 100.0, 0.01, 0, True),
        (np.nan, np.nan, 0, 0, True),
        (np.nan, 1.0, 1, 1, False),
        (np.inf, np.inf, 0, 0, True),
        (np.inf, -np.inf, 1, 1, False),
        (np.inf, 1e300, 1, 1, False),
        (0.0, -0.0, 0, 0, True),
    ],
)
def test_tolerances(
    tmp_path: Path, x: float, y: float, rtol: float, atol: float, same: bool
) -> None:
    arrays = numbers(2, 3)
    for name, value in (("a", x), ("b", y)):
        mean = arrays["observation/mean"].copy()
        mean[1, 2, 0] = value
        write(tmp_path / f"{name}.h5", {**arrays, "observation/mean": mean})
    found = compare_rollouts(tmp_path / "a.h5", tmp_path / "b.h5", rtol=rtol, atol=atol)
    assert found.same is same
    if not same:
        assert found.differences[0].largest is not None
        assert found.differences[0].largest.size > 0


def test_shapes_names_and_datasets_that_are_missing(tmp_path: Path) -> None:
    a, b = tmp_path / "a.h5", tmp_path / "b.h5"
    arrays = numbers(4, 9, 3, 2)
    write(a, arrays, header={"observation_names": ["x", "y", "z"]})
    shorter = numbers(4, 8, 3, 2)
    del shorter["reward/var"]
    write(b, shorter, header={"observation_names": ["x", "q", "z"], "seed": 8})
    found = compare_rollouts(a, b)
    sentences = [str(difference) for difference in found.differences]
    assert sentences[0] == "observation_names: number 1 is 'y' in one and 'q' in the other"
    assert (
        "observation/mean: its shape is (4, 10, 3) in one and (4, 9, 3) in the other" in sentences
    )
    assert f"reward/var: only in {a}" in sentences
    assert "seed: '7' and '8'" in found.notes


def test_memory_is_that_of_a_piece(tmp_path: Path) -> None:
    arrays = {"observation/mean": np.zeros((64, 2001, 8)), "action/mean": np.zeros((64, 2000, 1))}
    arrays["observation/var"] = np.zeros((64, 2001, 8, 8))
    for name in "ab":
        write(tmp_path / f"{name}.h5", arrays)
    size = arrays["observation/var"].nbytes
    del arrays
    tracemalloc.start()
    assert compare_rollouts(tmp_path / "a.h5", tmp_path / "b.h5").same
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 16 * 2**20
    assert size < 65 * 2**20


def command(capsys: Any, *words: Any) -> tuple[int, str]:
    status = main(["compare", *map(str, words)])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_status_and_words_of_the_command(tmp_path: Path, capsys: Any) -> None:
    changed = numbers(4, 9, 3, 2, p=5)["observation/mean"]
    changed[2, 4, 1] += 0.5
    changed[0, 7, 2] += 2.0
    a, b = pair(tmp_path, **{"observation/mean": changed})
    assert command(capsys, a, a) == (0, f"{a} and {a} hold the same numbers\n")
    status, said = command(capsys, a, b)
    assert status == 1
    assert "observation/mean: 2 of 120 numbers differ; first at step 4 of trajectory 2, o1" in said
    assert "largest at step 7 of trajectory 0, o2" in said
    assert "by 2\n" in said
    assert command(capsys, a, b, "--atol", 3)[0] == 0
    assert command(capsys, a, b, "-q") == (1, "")
    status, said = command(capsys, a, b, "--json")
    document = json.loads(said)
    assert status == 1
    assert document["same"] is False
    assert document["differences"][0]["largest"]["index"] == [0, 7, 2]


@pytest.mark.parametrize("options", [(), ("--statistical",)])
def test_trouble_is_two(tmp_path: Path, capsys: Any, options: tuple[str, ...]) -> None:
    a, _ = pair(tmp_path)
    (tmp_path / "bad.h5").write_bytes(b"not a rollout")
    assert command(capsys, a, tmp_path / "none.h5", *options)[0] == 2
    assert command(capsys, tmp_path / "bad.h5", a, *options)[0] == 2
    assert command(capsys, a, a, "--statistical", "--rtol", 1)[0] == 2
    assert command(capsys, a, a, "--atol", -1)[0] == 2
    damaged = bytearray(a.read_bytes())
    for place in range(len(damaged) // 3, len(damaged), 97):
        damaged[place] ^= 0xFF
    (tmp_path / "damaged.h5").write_bytes(damaged)
    assert command(capsys, a, tmp_path / "damaged.h5", *options)[0] == 2


def real(path: Path, seed: int, **options: Any) -> Path:
    evaluate_model(
        linear_model(), ENV_ID, steps=10, trajectories=120, seed=seed, record=path, **options
    )
    return path


def test_two_runs_of_one_env_are_of_one_distribution(tmp_path: Path, capsys: Any) -> None:
    a, b = real(tmp_path / "a.h5", 1), real(tmp_path / "b.h5", 2)
    assert not compare_rollouts(a, b).same
    assert compare_distributions(a, b).same
    status, said = command(capsys, a, b, "--statistical")
    assert status == 0
    assert "could be of one distribution" in said


def test_ends_actions_and_variances_that_differ_are_told(tmp_path: Path, capsys: Any) -> None:
    a = real(tmp_path / "a.h5", 1)
    pushed = real(tmp_path / "pushed.h5", 2, policy="constant:1")
    found = compare_distributions(a, pushed)
    assert not found.same
    assert found.p < 1e-9
    status, said = command(capsys, a, pushed, "--statistical", "--json")
    assert status == 1
    assert json.loads(said)["most_different"]["quantity"] == "action u0"
    imagined = []
    for spread in (1.0, 1.2):
        path = tmp_path / f"imagined{spread}.h5"
        evaluate_model(linear_model(spread), real=a, imagined=path)
        imagined.append(path)
    found = compare_distributions(*imagined)
    assert not found.same
    assert found.quantity.startswith("standard deviation of")


def test_false_alarms_are_rarer_than_alpha(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for trial in range(40):
        paths = []
        for name in "ab":
            arrays = {
                "observation/mean": rng.normal(size=(40, 5, 2)),
                "observation/var": np.zeros((40, 5, 2, 2)),
                "action/mean": rng.normal(size=(40, 4, 1)),
            }
            paths.append(tmp_path / f"{name}{trial}.h5")
            write_plainly(paths[-1], arrays)
        alarms += not compare_distributions(*paths, alpha=0.1).same
    assert alarms <= 10  # binomial with 40 trials at 0.1: more in 1 of 650


@pytest.mark.parametrize(("n", "alpha"), [(60, 1e-2 / 72), (200, 1e-2 / 72), (100, 0.05)])
def test_the_power_is_that_of_simulated_tests(n: int, alpha: float) -> None:
    rng, power, trials = np.random.default_rng(n), Power(alpha), 400
    shift = power.detectable(n, n)
    found = [
        stats.ks_2samp(rng.normal(size=n), rng.normal(shift, size=n)).pvalue < alpha
        for _ in range(trials)
    ]
    # The bound is from one point of the distribution function; what is found is somewhat more.
    error = 3 * np.sqrt(0.1 * 0.9 / trials)
    assert 0.9 - error < np.mean(found) < 0.98 + error
    assert power.enough(shift) == pytest.approx(n, abs=1)


def test_few_trajectories_say_that_same_means_little(tmp_path: Path, capsys: Any) -> None:
    a, b = real(tmp_path / "a.h5", 1), real(tmp_path / "b.h5", 2)
    found = compare_distributions(a, b)
    assert found.enough > 120
    status, said = command(capsys, a, b, "--statistical")
    assert status == 0
    assert said.splitlines()[1].startswith("so few trajectories say little: a quantity shifted by")
    assert f"half a standard deviation takes {found.enough} of each" in said


def test_rollouts_from_the_belief_of_any_two_seeds_are_of_one_distribution(tmp_path: Path) -> None:
    different = 0
    for seed in range(8):
        for name, own in (("a", 2 * seed), ("b", 2 * seed + 1)):
            run_rollout(
                "Pendulum-v1", small_gp(3, 1), start="belief", policy="random", steps=3,
                trajectories=60, seed=own, output=tmp_path / f"{name}{seed}.h5",
            )  # fmt: skip
        found = compare_distributions(tmp_path / f"a{seed}.h5", tmp_path / f"b{seed}.h5")
        different += not found.same
    assert different <= 1  # each with a chance of at most 1 %


def test_too_few_trajectories_can_not_tell(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    with pytest.raises(InputError, match="4 and 4 trajectories are too few"):
        compare_distributions(a, b)
