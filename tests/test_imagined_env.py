from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.envs import GymEnv, GymWrapper, RewardSum, SerialEnv, StepCounter
from torchrl.envs.model_based import ModelBasedEnvBase
from torchrl.envs.utils import RandomPolicy, check_env_specs
from torchrl.modules.models.gp import GPWorldModel
from torchrl.modules.models.rbf_controller import RBFController

import imagine_cli
from imagine_cli import ImaginedEnv, InputError
from imagine_cli.belief import ActionBelief, Belief
from tests.helpers.worlds import MultiDiscreteEnv, linear_module, seed_dummy, small_gp

ENVS = {
    "Pendulum-v1": (3, 1),
    "MountainCarContinuous-v0": (2, 1),
    "CartPole-v1": (4, 2),
    "Acrobot-v1": (6, 3),
    "InvertedPendulum-v5": (4, 1),
    "Hopper-v5": (11, 3),
    "HalfCheetah-v5": (17, 6),
}
BATCHES = [(None, (1,)), (3, (3,)), ([1], (1,)), ([3], (3,)), ([4, 2], (4, 2))]


def random_rollout(env: ImaginedEnv, steps: int = 4) -> Any:
    return env.rollout(max_steps=steps, policy=RandomPolicy(env.action_spec))


def test_the_seeds_own_example_with_only_its_import_changed() -> None:
    from imagine_cli import ImaginedEnv

    base_env = GymEnv("Pendulum-v1")
    obs_dim = base_env.observation_spec["observation"].shape[-1]

    class DummyWorldModel(torch.nn.Module):
        def __init__(self, obs_dim: int) -> None:
            super().__init__()
            self.obs_dim = obs_dim

        def forward(self, action: Any, observation: Any) -> Any:
            # Assuming observation comes in as a dict with a "mean" key
            mean = observation.get("mean", observation)
            var = torch.eye(self.obs_dim).expand(*mean.shape[:-1], -1, -1)
            return mean, var

    wm = TensorDictModule(
        DummyWorldModel(obs_dim),
        in_keys=["action", "observation"],
        out_keys=[("next", "observation", "mean"), ("next", "observation", "var")],
    )
    imagined_env = ImaginedEnv(wm, base_env, next_observation_key=("next", "observation"))
    rollout = imagined_env.rollout(max_steps=5, policy=RandomPolicy(imagined_env.action_spec))
    assert rollout.shape == (1, 5)
    assert rollout["next", "observation", "mean"].shape == (1, 5, 3)
    assert rollout["next", "observation", "var"].shape == (1, 5, 3, 3)


def test_it_is_a_model_based_env_of_our_own() -> None:
    assert issubclass(ImaginedEnv, ModelBasedEnvBase)
    assert ImaginedEnv.__module__ == "imagine_cli.imagined_env"
    assert imagine_cli.ImaginedEnv is ImaginedEnv


@pytest.mark.parametrize(("given", "batch"), BATCHES, ids=[str(b[0]) for b in BATCHES])
@pytest.mark.parametrize("env_id", ENVS)
@pytest.mark.parametrize("model", ["dummy", "gp"])
def test_every_env_with_every_batch_size(env_id: str, given: Any, batch: Any, model: str) -> None:
    size, actions = ENVS[env_id]
    base = GymEnv(env_id)
    world_model = seed_dummy(size) if model == "dummy" else small_gp(size, actions)
    env = ImaginedEnv(world_model, base, batch_size=given)
    assert env.batch_size == batch
    check_env_specs(env)
    for name in ("action", "reward", "done"):
        ours, real = getattr(env, f"full_{name}_spec"), getattr(base, f"full_{name}_spec")
        assert set(ours.keys(True, True)) == set(real.keys(True, True))
        for key in real.keys(True, True):
            assert ours[key].shape == (*batch, *real[key].shape)
            assert ours[key].dtype == real[key].dtype
    rollout = random_rollout(env)
    expected = {
        ("observation", "mean"): (size,),
        ("observation", "var"): (size, size),
        ("next", "observation", "mean"): (size,),
        ("next", "observation", "var"): (size, size),
        ("next", "reward"): (1,),
        ("next", "done"): (1,),
        ("next", "terminated"): (1,),
        ("next", "truncated"): (1,),
        ("done",): (1,),
        ("terminated",): (1,),
        ("truncated",): (1,),
        ("action",): (actions,),
    }
    leaves = {key if isinstance(key, tuple) else (key,) for key in rollout.keys(True, True)}
    assert leaves == set(expected)
    for key, shape in expected.items():
        assert rollout[key].shape == (*batch, 4, *shape), key
    for key in leaves:
        if key[-1] in ("done", "terminated", "truncated"):
            assert not rollout[key].any()
    dtype = torch.float64 if model == "gp" else base.observation_spec["observation"].dtype
    assert rollout["next", "observation", "mean"].dtype == dtype
    var = rollout["next", "observation", "var"]
    assert torch.equal(var, var.mT)
    assert torch.linalg.eigvalsh(var).min() >= -1e-12 * var.abs().max()
    base.close()


@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize("given", [None, [4, 2]])
def test_multidiscrete_and_categorical_actions(categorical: bool, given: Any) -> None:
    base = GymWrapper(MultiDiscreteEnv(), categorical_action_encoding=categorical)
    env = ImaginedEnv(seed_dummy(2), base, batch_size=given)
    check_env_specs(env)
    assert random_rollout(env)["action"].shape[-1] == (2 if categorical else 5)
    base = GymEnv("CartPole-v1", categorical_action_encoding=categorical)
    env = ImaginedEnv(small_gp(4, 2), base, batch_size=given)
    check_env_specs(env)
    random_rollout(env)


def test_a_discrete_action_means_the_same_by_number_and_one_hot() -> None:
    gp = small_gp(4, 2)
    one_hot = ImaginedEnv(gp, GymEnv("CartPole-v1"), batch_size=2)
    number = ImaginedEnv(gp, GymEnv("CartPole-v1", categorical_action_encoding=True), batch_size=2)
    start = TensorDict({"observation": torch.full((2, 4), 0.1)}, [2])
    codes = torch.tensor([[0, 1], [1, 0]])
    a = one_hot.step(one_hot.reset(start.clone()).set("action", codes))
    b = number.step(number.reset(start.clone()).set("action", torch.tensor([1, 0])))
    assert torch.equal(a["next", "observation", "mean"], b["next", "observation", "mean"])


def test_a_batched_real_env_lends_its_batch_size() -> None:
    base = SerialEnv(2, lambda: GymEnv("Pendulum-v1"))
    env = ImaginedEnv(seed_dummy(3), base)
    assert env.batch_size == (2,)
    check_env_specs(env)
    env = ImaginedEnv(seed_dummy(3), base, batch_size=5)
    assert env.reset()["observation", "mean"].shape == (5, 3)
    assert env.action_spec.shape == (5, 1)
    base.close()


def test_next_observation_key_as_a_string() -> None:
    keys = [("next_observation", "mean"), ("next_observation", "var")]
    module = linear_module(3, 1).module
    wm = TensorDictModule(module, in_keys=["action", "observation"], out_keys=keys)
    env = ImaginedEnv(wm, GymEnv("Pendulum-v1"), 3, next_observation_key="next_observation")
    check_env_specs(env)
    rollout = random_rollout(env)
    torch.testing.assert_close(
        rollout["next", "observation", "mean"][:, :-1], rollout["observation", "mean"][:, 1:]
    )


def test_a_world_model_that_writes_elsewhere_gets_a_sentence() -> None:
    wm = TensorDictModule(
        linear_module(3, 1).module,
        in_keys=["action", "observation"],
        out_keys=[("belief", "mean"), ("belief", "var")],
    )
    env = ImaginedEnv(wm, GymEnv("Pendulum-v1"))
    with pytest.raises(InputError, match=r"wrote nothing at next_observation_key.*belief"):
        env.rollout(2)


def test_the_real_env_is_never_stepped() -> None:
    base = GymEnv("Pendulum-v1")

    def explode(*_: Any, **__: Any) -> None:
        raise AssertionError("the real env was stepped")

    base._env.step = explode
    base._step = explode
    random_rollout(ImaginedEnv(seed_dummy(3), base, batch_size=3))


def test_only_max_steps_ends_a_rollout() -> None:
    env = ImaginedEnv(seed_dummy(4), GymEnv("CartPole-v1"), batch_size=2)
    start = TensorDict({"observation": torch.full((2, 4), 1e3)}, [2])  # far beyond its limits
    rollout = env.rollout(700, tensordict=env.reset(start), auto_reset=False)
    assert rollout.shape == (2, 700)
    assert not rollout["next", "done"].any()
    assert not env.any_done(rollout[:, -1]["next"])


@pytest.mark.parametrize("declared", [torch.float32, torch.float64])
@pytest.mark.parametrize("env_id", ["Pendulum-v1", "InvertedPendulum-v5"])
def test_beliefs_have_the_dtype_that_the_world_model_declares(
    declared: torch.dtype, env_id: str
) -> None:
    size, actions = ENVS[env_id]
    env = ImaginedEnv(linear_module(size, actions, declared), GymEnv(env_id), batch_size=2)
    check_env_specs(env)
    assert random_rollout(env)["next", "observation", "var"].dtype == declared
    gp = small_gp(size, actions)
    gp.dtype = declared
    env = ImaginedEnv(gp, GymEnv(env_id), batch_size=2)
    check_env_specs(env)
    assert random_rollout(env)["next", "observation", "var"].dtype == declared
    undeclared = ImaginedEnv(seed_dummy(size), GymEnv(env_id))
    real = GymEnv(env_id).observation_spec["observation"].dtype
    assert undeclared.observation_spec["observation", "mean"].dtype == real


def test_the_device_it_is_put_on() -> None:
    env = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1", device="cpu"), batch_size=2)
    assert env.device == torch.device("cpu")
    assert random_rollout(env).device == torch.device("cpu")
    moved = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=2).to("cpu")
    check_env_specs(moved)
    assert moved.reset()["observation", "mean"].device == torch.device("cpu")
    explicit = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=2, device="cpu")
    assert explicit.device == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_it_gives_what_it_gives_on_the_cpu() -> None:
    gp, start = small_gp(3, 1), torch.full((2, 3), 0.1)
    results = []
    for device in ("cpu", "cuda"):
        env = ImaginedEnv(gp.to(device), GymEnv("Pendulum-v1", device=device), batch_size=2)
        check_env_specs(env)
        td = env.reset(TensorDict({"observation": start.to(device)}, [2], device=device))
        td["action"] = torch.full((2, 1), 0.5, device=device)
        results.append(env.step(td)["next", "observation", "var"].cpu())
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-12)


# Rewards


@pytest.mark.parametrize("reward", ["mean", "both"])
def test_a_reward_of_the_world_model_gets_through(reward: str) -> None:
    wm = linear_module(3, 1, reward=reward)
    env = ImaginedEnv(wm, GymEnv("Pendulum-v1"), batch_size=3)
    assert env.has_reward
    check_env_specs(env)
    rollout = random_rollout(env)
    expected = -rollout["next", "observation", "mean"].square().sum(-1, keepdim=True)
    torch.testing.assert_close(rollout["next", "reward"], expected)
    assert rollout["next", "reward"].shape == (3, 4, 1)
    belief = Belief(torch.zeros(3, 3), torch.zeros(3, 3, 3))
    prediction = env.imagine(belief, ActionBelief(torch.ones(3, 1)))
    assert prediction.reward_mean is not None
    assert prediction.reward_mean.shape == (3,)
    assert (prediction.reward_var is not None) == (reward == "both")


def test_without_a_model_of_the_reward_it_says_so() -> None:
    env = ImaginedEnv(linear_module(3, 1), GymEnv("Pendulum-v1"))
    assert not env.has_reward
    assert (
        env.imagine(
            Belief(torch.zeros(1, 3), torch.zeros(1, 3, 3)), ActionBelief(torch.ones(1, 1))
        ).reward_mean
        is None
    )
    assert not ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1")).has_reward


# Gradients


def test_gradients_flow_through_a_rollout_to_the_policy_as_finite_differences_say() -> None:
    env = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=2)
    start = TensorDict({"observation": torch.full((2, 3), 0.2)}, [2])

    def loss(weight: torch.Tensor) -> torch.Tensor:
        def policy(td: Any) -> Any:
            return td.set("action", torch.tanh(td["observation", "mean"] @ weight))

        rollout = env.rollout(5, policy, tensordict=env.reset(start), auto_reset=False)
        final = rollout["next", "observation"][:, -1]
        return final["mean"].square().sum() + final["var"].sum()

    weight = torch.tensor([[0.3], [-0.2], [0.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, weight, rtol=1e-5)
    with torch.no_grad():
        assert not loss(weight).requires_grad


def test_gradients_flow_to_the_parameters_of_a_module() -> None:
    wm = linear_module(3, 1)
    env = ImaginedEnv(wm, GymEnv("Pendulum-v1"), batch_size=2)
    random_rollout(env)["next", "observation", "var"].sum().backward()
    assert wm.module.a.grad.abs().sum() > 0


# Resets


def test_a_reset_from_a_belief_and_from_an_observation() -> None:
    env = ImaginedEnv(small_gp(3, 1), GymEnv("Pendulum-v1"), batch_size=[4, 2])
    mean, root = torch.randn(4, 2, 3), torch.randn(4, 2, 3, 3)
    var = root @ root.mT
    td = env.reset(TensorDict({"observation": {"mean": mean, "var": var}}, [4, 2]))
    assert torch.equal(td["observation", "mean"], mean.double())
    assert torch.equal(td["observation", "var"], var.double())
    td = env.reset(TensorDict({"observation": mean}, [4, 2]))
    assert torch.equal(td["observation", "mean"], mean.double())
    assert not td["observation", "var"].any()
    td = env.reset(TensorDict({"observation": {"mean": mean}}, [4, 2]))
    assert not td["observation", "var"].any()
    assert not td["done"].any()


def test_resets_of_the_real_env_one_for_each_batch_element_seeded() -> None:
    env = ImaginedEnv(seed_dummy(3), GymEnv("Pendulum-v1"), batch_size=[4, 2])
    env.set_seed(7)
    first, second = env.reset(), env.reset()
    starts = first["observation", "mean"].reshape(8, 3)
    assert len(torch.unique(starts, dim=0)) == 8
    # cos² + sin² = 1: what the real env gives, not a sample of its observation space
    torch.testing.assert_close(starts[:, :2].square().sum(-1), torch.ones(8))
    assert not first["observation", "var"].any()
    assert not torch.equal(first["observation", "mean"], second["observation", "mean"])
    env.set_seed(7)
    assert torch.equal(env.reset()["observation", "mean"], first["observation", "mean"])


def test_wrong_sizes_and_wrong_envs_are_refused() -> None:
    with pytest.raises(InputError, match="size 3 and actions of size 1, but the env has 4 and 2"):
        ImaginedEnv(small_gp(3, 1), GymEnv("CartPole-v1"))
    with pytest.raises(InputError, match='no flat "observation"'):
        ImaginedEnv(
            seed_dummy(3),
            GymEnv("Pendulum-v1", from_pixels=False).append_transform(
                __import__("torchrl.envs", fromlist=["RenameTransform"]).RenameTransform(
                    ["observation"], ["state"]
                )
            ),
        )


# Covariances that a world model should not have given


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_covariance_is_always_symmetric_and_positive_semi_definite(dtype: torch.dtype) -> None:
    class Careless(torch.nn.Module):
        def forward(self, action: Any, observation: Any) -> Any:
            mean = observation["mean"]
            generator = torch.Generator().manual_seed(0)
            return mean, torch.randn(*mean.shape, 3, generator=generator, dtype=mean.dtype)

    wm = linear_module(3, 1, dtype)
    wm.module = Careless()
    wm.dtype = dtype
    env = ImaginedEnv(wm, GymEnv("Pendulum-v1"), batch_size=5)
    with pytest.warns(UserWarning, match="not positive semi-definite"):
        var = random_rollout(env)["next", "observation", "var"]
    assert torch.equal(var, var.mT)
    assert torch.linalg.eigvalsh(var).min() >= -4 * torch.finfo(dtype).eps * var.abs().max()


def test_a_vector_of_variances_and_a_certain_next_observation_are_taken() -> None:
    class Diagonal(torch.nn.Module):
        def forward(self, action: Any, observation: Any) -> Any:
            return observation["mean"], torch.ones_like(observation["mean"]) * 0.5

    out = [("next", "observation", "mean"), ("next", "observation", "var")]
    wm = TensorDictModule(Diagonal(), in_keys=["action", "observation"], out_keys=out)
    env = ImaginedEnv(wm, GymEnv("Pendulum-v1"), batch_size=2)
    var = random_rollout(env)["next", "observation", "var"]
    assert torch.equal(var, 0.5 * torch.eye(3).expand(2, 4, 3, 3))

    class Certain(torch.nn.Module):
        def forward(self, action: Any, observation: Any) -> Any:
            return observation["mean"] + 1.0

    wm = TensorDictModule(
        Certain(), in_keys=["action", "observation"], out_keys=[("next", "observation")]
    )
    rollout = random_rollout(ImaginedEnv(wm, GymEnv("Pendulum-v1"), batch_size=2))
    assert not rollout["next", "observation", "var"].any()


# What torchrl's own parts do with it


def test_torchrls_rbf_controller_drives_it() -> None:
    torch.manual_seed(0)
    controller = RBFController(3, 1, 2.0, n_basis=4).double()
    policy = TensorDictModule(
        controller,
        in_keys=[("observation", "mean"), ("observation", "var")],
        out_keys=[("action", "mean"), ("action", "var"), ("action", "cross_covariance")],
    )
    gp = small_gp(3, 1)
    env = ImaginedEnv(gp, GymEnv("Pendulum-v1"), batch_size=[2])
    start = {"mean": torch.full((2, 3), 0.1), "var": 0.1 * torch.eye(3).expand(2, 3, 3)}
    td = env.reset(TensorDict({"observation": start}, [2]))
    rollout = env.rollout(3, policy, tensordict=td, auto_reset=False)
    step = rollout[:, 1]
    expected = gp.predict(
        Belief(step["observation", "mean"], step["observation", "var"]),
        ActionBelief(*(step["action", k] for k in ("mean", "var", "cross_covariance"))),
    )
    assert torch.equal(step["next", "observation", "mean"], expected.mean)
    assert torch.equal(step["next", "observation", "var"], expected.var)
    rollout["next", "observation", "var"].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in controller.parameters())


@pytest.mark.parametrize("batch", [[1], [3], [4, 2]])
def test_torchrls_gp_world_model_as_the_world_model(batch: list[int]) -> None:
    ours = small_gp(3, 1)
    theirs = GPWorldModel(3, 1)
    theirs.X_tilde_train, theirs.ell = ours.inputs, ours.lengthscales
    theirs.alpha_sq, theirs.sigma_sq_eps = ours.signal_variances[:, None], ours.noise_variances
    scaled = ours.inputs / ours.lengthscales[:, None]
    gram = ours.signal_variances[:, None, None] * torch.exp(
        -0.5 * torch.cdist(scaled, scaled).square()
    ) + torch.diag_embed(ours.noise_variances[:, None].expand(3, 12))
    theirs._cached_inv_K_noisy = torch.linalg.inv(gram)
    theirs._cached_beta = torch.linalg.solve(gram, ours.targets.mT)
    start = TensorDict(
        {"observation": {"mean": torch.full((*batch, 3), 0.1, dtype=torch.float64),
                         "var": 0.1 * torch.eye(3, dtype=torch.float64).expand(*batch, 3, 3)}},
        batch,
    )  # fmt: skip
    action = torch.full((*batch, 1), 0.5)
    found = []
    for model in (ours, theirs):
        env = ImaginedEnv(model, GymEnv("Pendulum-v1"), batch_size=batch)
        found.append(env.step(env.reset(start.clone()).set("action", action))["next"])
    # torchrl adds 1e-8 to every variance
    for key in ("mean", "var"):
        a, b = (td["observation", key] for td in found)
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1.1e-8)


def test_a_collector_and_a_replay_buffer_just_work() -> None:
    imagined = ImaginedEnv(
        linear_module(3, 1, reward="mean"), GymEnv("Pendulum-v1"), batch_size=[4]
    )
    env = imagined.append_transform(StepCounter(5)).append_transform(RewardSum())
    collector = Collector(env, RandomPolicy(env.action_spec), frames_per_batch=40, total_frames=80)
    buffer = ReplayBuffer(storage=LazyTensorStorage(100), batch_size=16)
    for data in collector:
        assert data.shape == (4, 10)
        # StepCounter truncates at 5: the env starts again from a certain real reset
        assert not data["observation", "var"][:, [0, 5]].any()
        assert data["observation", "var"][:, 1:5].any()
        rewards = data["next", "reward"].unflatten(1, (2, 5))
        torch.testing.assert_close(data["next", "episode_reward"], rewards.cumsum(2).flatten(1, 2))
        buffer.extend(data.reshape(-1))
    assert buffer.sample()["observation", "var"].shape == (16, 3, 3)
    collector.shutdown()
