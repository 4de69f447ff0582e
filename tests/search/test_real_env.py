"""The loop with the real env is the test: what imagination makes has to work there."""

from __future__ import annotations

import pytest

import imagine_cli
from imagine_cli.environments import describe, make_env
from imagine_cli.rollout.real import real_episode


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_from_150_random_steps_to_a_policy_that_balances_the_real_pole(seed: int) -> None:
    pytest.importorskip("mujoco")
    fitted = imagine_cli.fit_world_model("InvertedPendulum-v5", steps=150, seed=seed, held_out=0.1)
    found = imagine_cli.optimize_policy(
        "InvertedPendulum-v5", fitted.model, policy="rbf:30", seed=seed, compiled=True,
        reward="saturating:target=0;width=0.5,0.2,inf,inf", iterations=40,
        start="mean=0,0,0,0;var=0.01,0.0025,0.01,0.01",
    )  # fmt: skip
    policy = found.policy.requires_grad_(False)
    real = make_env("InvertedPendulum-v5")
    about = describe(real, {})
    lengths = [
        sum(1 for _ in real_episode(real, about, policy, seed=99, number=number))
        for number in range(5)
    ]
    real.close()
    assert sum(length == 1000 for length in lengths) >= 4, lengths
