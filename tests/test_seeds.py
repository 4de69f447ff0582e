from __future__ import annotations

import subprocess
import sys

import numpy as np

from imagine_cli.environments import describe_named, reset_seed
from imagine_cli.evaluation.real import evaluation_seed
from imagine_cli.fitting import gather
from imagine_cli.fitting.collect import collect
from imagine_cli.policies import make_policy
from imagine_cli.progress import Silent
from imagine_cli.seeds import Stream, derived_seed, seed_sequence


def test_streams_keep_the_numbers_that_files_were_written_with() -> None:
    promised = {"RESET": 0, "RANDOM_POLICY": 1, "PROPAGATION": 2, "EVALUATION": 4}
    assert {name: int(Stream[name]) for name in promised} == promised
    one = np.random.SeedSequence(9, spawn_key=(2, 4)).generate_state(4)
    assert (seed_sequence(9, Stream.PROPAGATION, 4).generate_state(4) == one).all()
    assert reset_seed(9, 4) == np.random.SeedSequence(9, spawn_key=(0, 4)).generate_state(1)[0]
    (two,) = np.random.SeedSequence(9, spawn_key=(4,)).generate_state(1, np.uint64)
    assert evaluation_seed(9) == int(two) >> 1


def test_fit_evaluation_and_rollout_of_a_seed_see_different_episodes() -> None:
    fitted = gather.run(
        "Pendulum-v1", None, steps=450, policy="random", seed=0, progress=Silent()
    ).transitions
    seen = []
    for seed in (0, evaluation_seed(0)):
        policy = make_policy("random", describe_named("Pendulum-v1"), seed=seed)
        seen.append(collect("Pendulum-v1", policy, steps=450, seed=seed))
    for other in seen:
        assert not np.isin(fitted.observations[::200], other.observations).all(-1).any()
        assert (fitted.actions != other.actions).all()
    again = collect(
        "Pendulum-v1",
        make_policy("random", describe_named("Pendulum-v1"), seed=derived_seed(0, Stream.FIT)),
        steps=450,
        seed=derived_seed(0, Stream.FIT),
    )
    assert (again.observations == fitted.observations).all()


def test_no_two_streams_of_a_seed_are_the_same() -> None:
    keys = [(stream, *index) for stream in Stream for index in ((), (0,), (1,))]
    states = {tuple(seed_sequence(0, *key).generate_state(4)) for key in keys}
    assert len(states) == len(keys)


def test_it_needs_no_torch() -> None:
    code = "import imagine_cli.seeds, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
