"""From a spec to a reward."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imagine_cli.belief import ActionBelief, point
from imagine_cli.environments import describe, make_env
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.rewards import RewardContext, make_reward
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.interfaces import Conditional, Prediction

CONTEXT = RewardContext(describe(make_env("Pendulum-v1")))
X = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, -2.0]], dtype=torch.float64)
U = torch.tensor([[0.5], [-1.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("saturating:target=1,0,0;width=1,1,inf", [1.0, 0.36787944117144233]),
        ("saturating:target=0;width=inf,inf,2", [0.9692332344763441, 0.6065306597126334]),
        ("quadratic", [-1.25, -5.0]),
        ("quadratic:target=1,0,0;weight=1,2,0;action=0.5", [-0.125, -3.5]),
        ("env", [-0.02525, -2.868401100272339654]),
    ],
)
def test_a_spec_gives_the_reward_it_says(spec: str, expected: list[float]) -> None:
    reward = make_reward(spec, CONTEXT)
    assert reward.name == spec
    torch.testing.assert_close(reward(X, U, X), torch.tensor(expected, dtype=torch.float64))
    assert not reward.ended(X, U, X).any()


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("saturation", "no reward 'saturation'; there is env, model, quadratic, saturating"),
        ("saturating", "'saturating:' needs a target and a width for each of the 3"),
        ("saturating:target=0", "needs a target and a width"),
        ("saturating:target=0,1;width=1", "target has 2 numbers; env 'Pendulum-v1' needs 3"),
        ("saturating:target=0;width=1;width=2", "gives width twice"),
        ("saturating:target=0;width=0", "widths are above 0"),
        ("saturating:target=0;width=inf", "not for all of them"),
        ("saturating:target=up;width=1", "target has 'up', which is not a number"),
        ("saturating:target=inf;width=1", "target has 'inf', which is not a number"),
        ("quadratic:goal=1", "has no 'goal'; give quadratic:target=...;weight=...;action=..."),
        ("quadratic:weight=-1", "weight has a weight below 0"),
        ("env:roughly", "it is env, or env:approximate"),
        ("model", "the world model has learned no reward"),
        ("model:x", "'model' takes no argument"),
        ("no_such_module:reward", "can't be imported: ModuleNotFoundError"),
        ("math:no_such_thing", "can't be imported: AttributeError"),
        ("math:pi", "'math:pi' is float, not a function"),
    ],
)
def test_a_bad_spec_is_one_sentence(spec: str, sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        make_reward(spec, CONTEXT)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_function_of_the_users_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_rewards_of_this_test.py").write_text(
        "def upright(x, u, x_next):\n    return x_next[..., 0] - u[..., 0] ** 2\n"
        "upright.ended = lambda x, u, x_next: x_next[..., 0] < 0.5\n"
        "def wrong(x, u, x_next):\n    return x_next\n"
        "def broken(x, u, x_next):\n    return x_next @ u\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    reward = make_reward("my_rewards_of_this_test:upright", CONTEXT)
    assert sys.path == before
    torch.testing.assert_close(reward(X, U, X), X[:, 0] - U[:, 0] ** 2)
    assert reward.ended(X, U, X).tolist() == [False, True]
    mean, var = reward.moments(point(X), ActionBelief(U), Prediction(*point(X)))
    torch.testing.assert_close(mean, X[:, 0] - U[:, 0] ** 2)
    assert var.tolist() == [0.0, 0.0]
    with pytest.raises(InputError, match=r"returned \(2, 3\) for .*must return a tensor \(2,\)"):
        make_reward("my_rewards_of_this_test:wrong", CONTEXT)(X, U, X)
    with pytest.raises(ImagineError, match="broken' failed with RuntimeError"):
        make_reward("my_rewards_of_this_test:broken", CONTEXT)(X, U, X)


class Rewarding(WorldModel):
    """A model whose reward is the first of x times the action, known to a variance of 0.1."""

    kind = "rewarding"
    has_reward = True

    def conditional(
        self, x: torch.Tensor, u: torch.Tensor, member: torch.Tensor | None = None
    ) -> Conditional:
        reward = x[..., 0] * u[..., 0]
        return Conditional(x, torch.zeros_like(x), reward, torch.full_like(reward, 0.1))

    def config(self) -> dict[str, object]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, object], state: dict[str, torch.Tensor]) -> Rewarding:
        return cls()


def test_the_models_own_reward_is_what_it_says_at_points_and_what_it_predicted_on_beliefs() -> None:
    reward = make_reward("model", RewardContext(CONTEXT.env, Rewarding()))
    torch.testing.assert_close(reward(X, U, X), X[:, 0] * U[:, 0])
    predicted = Prediction(*point(X), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    mean, var = reward.moments(point(X), ActionBelief(U), predicted)
    assert mean.tolist() == [1.0, 2.0]
    assert var.tolist() == [3.0, 4.0]


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, imagine_cli.rewards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
