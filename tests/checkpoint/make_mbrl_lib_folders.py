"""Makes the folders in tests/checkpoint/mbrl_lib with mbrl-lib itself, and what it predicts there.

mbrl 0.2.0 wants older libraries than this package; in an environment of its own:

    pip install --no-deps mbrl==0.2.0
    pip install torch numpy gymnasium tqdm termcolor PyYAML 'hydra-core<1.4' 'omegaconf<2.4'
    python tests/checkpoint/make_mbrl_lib_folders.py

Each is a OneDTransitionRewardModel with random weights, saved with its own ``save`` and
instantiated from the config that is written beside it.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

HERE = Path(__file__).parent / "mbrl_lib"

MLP = {"_target_": "mbrl.models.GaussianMLP", "device": "${device}", "num_layers": 2, "hid_size": 8}

CONFIGS: dict[str, dict[str, Any]] = {
    # As mbrl-lib's examples have it: an ensemble in one, elites, a normaliser, rewards.
    "ensemble": {
        "dynamics_model": {
            **MLP,
            "in_size": 4, "out_size": 4, "ensemble_size": 5, "deterministic": False,
            "propagation_method": "random_model", "learn_logvar_bounds": True,
            "activation_fn_cfg": {"_target_": "torch.nn.SiLU"},
        },
        "algorithm": {
            "learned_rewards": "${overrides.learned_rewards}",
            "target_is_delta": True, "normalize": True, "normalize_double_precision": True,
        },
        "overrides": {"env": "gym___Pendulum-v1", "learned_rewards": True, "num_elites": 3},
        "device": "cpu",
    },
    # The other shape of file: a list of members, deterministic, one dimension predicted as it is.
    "members": {
        "dynamics_model": {
            "_target_": "mbrl.models.BasicEnsemble",
            "ensemble_size": 2, "device": "${device}", "propagation_method": "fixed_model",
            "member_cfg": {
                **MLP, "in_size": 4, "out_size": 3, "deterministic": True,
                "activation_fn_cfg": {"_target_": "torch.nn.LeakyReLU"},
            },
        },
        "algorithm": {"learned_rewards": False, "target_is_delta": True, "normalize": False},
        "overrides": {"env": "gym___Pendulum-v1", "no_delta_list": [2]},
        "device": "cpu",
    },
}  # fmt: skip


def made(config: dict[str, Any], seed: int = 0) -> Any:
    """mbrl-lib's model of a config, its weights, bounds, elites and normaliser at random."""
    import mbrl.models
    import mbrl.types
    import omegaconf
    from mbrl.util.common import create_one_dim_tr_model

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    config = copy.deepcopy(config)
    outer = config["dynamics_model"]
    inner = outer.get("member_cfg", outer)
    # Hydra 1.0, which mbrl-lib was written for, did not make what is inside.
    outer["_recursive_"] = inner["_recursive_"] = False
    rewards = config["algorithm"]["learned_rewards"] is not False
    size = inner["out_size"] - rewards
    actions = inner["in_size"] - size
    model = create_one_dim_tr_model(omegaconf.OmegaConf.create(config), (size,), (actions,))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("logvar"):
                value += 0.3 * torch.randn_like(value)
            else:
                value += 0.2 * torch.randn_like(value)
    count = config["overrides"].get("num_elites")
    if count:
        model.set_elite(rng.permutation(len(model))[:count].tolist())
    double = config["algorithm"].get("normalize_double_precision", False)
    dtype = np.float64 if double else np.float32
    obs = (3.0 + 2.0 * rng.normal(size=(200, size))).astype(dtype)
    act = rng.uniform(-2, 2, size=(200, actions)).astype(dtype)
    model.update_normalizer(mbrl.types.TransitionBatch(obs, act, obs, act, act, act))
    return model


def predicted(model: Any, obs: np.ndarray, act: np.ndarray) -> dict[str, np.ndarray]:
    """What every network says at points ``(N, D)``, ``(N, F)``, through mbrl-lib's own ``sample``.

    ``mean`` and ``var`` ``(M, N, D)``, ``reward`` and ``reward_var`` ``(M, N)``.
    """

    network = model.model
    rewards, size = model.learned_rewards, obs.shape[1]
    out: dict[str, list[np.ndarray]] = {"mean": [], "var": [], "reward": [], "reward_var": []}
    with torch.no_grad():
        given = model._get_model_input(torch.as_tensor(obs), torch.as_tensor(act))
        network.set_propagation_method(None)
        means, logvars = network.forward(given)
        if means.ndim == 2:
            means, logvars = means[None], None if logvars is None else logvars[None]
        means = means.reshape(-1, *means.shape[-2:])
        for k in range(len(means)):

            def only(*_: Any, k: int = k, **__: Any) -> Any:
                return means[k], None

            whole, network.forward = network.forward, only
            state = {"obs": torch.as_tensor(obs), "propagation_indices": None}
            following, reward, _, _ = model.sample(torch.as_tensor(act), state, deterministic=True)
            network.forward = whole
            out["mean"].append(following.numpy())
            var = torch.zeros_like(means[k])
            if logvars is not None:
                var = logvars.reshape(means.shape)[k].exp()
            out["var"].append(var[:, :size].numpy())
            if rewards:
                out["reward"].append(reward[:, 0].numpy())
                out["reward_var"].append(var[:, size].numpy())
    return {name: np.stack(value) for name, value in out.items() if value}


def points(size: int, actions: int, dtype: Any, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    obs = (3.0 + 2.0 * rng.normal(size=(count, size))).astype(dtype)
    return obs, rng.uniform(-2, 2, size=(count, actions)).astype(dtype)


def save(model: Any, config: dict[str, Any], folder: Path) -> None:
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    model.save(folder)


def main() -> None:
    for name, config in CONFIGS.items():
        model = made(config)
        save(model, config, HERE / name)
        dtype = np.float64 if config["algorithm"].get("normalize_double_precision") else np.float32
        obs, act = points(3, 1, dtype)
        found = predicted(model, obs, act)
        np.savez_compressed(HERE / name / "predictions.npz", obs=obs, act=act, **found)
        print(HERE / name, {key: value.shape for key, value in found.items()})


if __name__ == "__main__":
    sys.exit(main())
