"""Stable-Baselines3's zips: the network that acts, as the content of a policy checkpoint.

Such a zip holds JSON, in which objects are pickles beside a description in words, and state dicts
by ``torch.save``. The pickles are left alone: words and tensors say all of an MlpPolicy.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from imagine_cli.errors import InputError
from imagine_cli.files import plain_data
from imagine_cli.files.archive import read_archive

_ACTIVATIONS = {"Tanh": "tanh", "ReLU": "relu"}


class _Network(NamedTuple):
    """The layers ``hidden.0``, ``hidden.2``, ... and then ``head``, or the last of these."""

    hidden: str
    head: str
    activation: str
    squash: str


# The first one that is there; the activation is the default of its algorithms.
_NETWORKS = {
    "PPO or A2C": _Network("mlp_extractor.policy_net", "action_net", "tanh", "clip"),
    "SAC": _Network("actor.latent_pi", "actor.mu", "relu", "tanh"),
    "TD3 or DDPG": _Network("actor.mu", "", "relu", "tanh"),
    "DQN": _Network("q_net.q_net", "", "relu", "none"),
}


def is_zip(path: Path) -> bool:
    """Whether ``path`` is a zip of the kind that Stable-Baselines3 saves."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {"data", "policy.pth"} <= set(archive.namelist())
    except Exception:  # whatever a file made of arbitrary bytes can provoke
        return False


def read(path: Path) -> dict[str, Any]:
    """Kind, config, state dict and metadata of a policy checkpoint. Nothing in the zip runs.

    Raises InputError for a damaged zip, or a policy that is more than a network of such layers.
    """
    plain_data.check_looks(path, "policy")
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
            state = dict(read_archive(io.BytesIO(archive.read("policy.pth"))))
        told = {"activation_fn": "", "features_extractor_class": "", **data["policy_kwargs"]}
        activation, extractor = str(told["activation_fn"]), str(told["features_extractor_class"])
        squashes, sde = str(told.get("squash_output")) == "True", data["use_sde"] is True
        origin, space = str(data["policy_class"]["__module__"]), str(data["action_space"][":type:"])
    except Exception as error:  # whatever a file made of arbitrary bytes can provoke
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise InputError(f"{path} can't be read as a zip of Stable-Baselines3: {reason}") from error
    found = {name: _layers(network, state) for name, network in _NETWORKS.items()}
    algorithm = next((name for name, layers in found.items() if layers), "")
    network = _NETWORKS.get(algorithm)
    between = _named(activation, _ACTIVATIONS, network.activation if network else "")
    odd = {
        f"a policy of {origin[:50]}": not origin.startswith("stable_baselines3."),
        "a features extractor": "FlattenExtractor" not in (extractor or "FlattenExtractor")
        or any("features_extractor" in str(name) for name in state),
        "another network": network is None,
        f"the activation {activation[:80]}": not between,
        "gSDE": sde and algorithm != "PPO or A2C",
    }
    for what in (each for each, is_so in odd.items() if is_so):
        raise InputError(
            f"the policy {path} is not the MlpPolicy of PPO, A2C, SAC, TD3, DDPG or DQN that is "
            f"read here: it has {what}; write its network with imagine_cli.export_policy"
        )
    assert network is not None
    layers = found[algorithm]
    plain_data.check_tensors(
        {f"{name}.weight": state[f"{name}.weight"] for name in layers}, path, "policy"
    )
    hidden = [len(state[f"{name}.weight"]) for name in layers[:-1]]
    squash = "tanh" if squashes else network.squash
    return {
        "kind": "mlp",
        "config": {"hidden": hidden, "activation": between, "squash": squash},
        "state_dict": {
            f"layers.{k}.{part}": state.get(f"{name}.{part}")
            for k, name in enumerate(layers)
            for part in ("weight", "bias")
        },
        "env": {"discrete": "Box" not in space},
        "metadata": {"stable-baselines3": algorithm},
    }


def _layers(network: _Network, state: dict[Any, Any]) -> list[str]:
    """The names of its layers; none where it is not there, or something is between them."""
    pattern = re.compile(re.escape(network.hidden) + r"\.(\d{1,4})\.weight")
    found = (pattern.fullmatch(name) for name in state if isinstance(name, str))
    numbers = sorted(int(match[1]) for match in found if match)
    layers = [f"{network.hidden}.{number}" for number in numbers] + [network.head] * bool(
        network.head
    )
    there = bool(layers) and f"{layers[-1]}.weight" in state
    return layers if there and numbers == list(range(0, 2 * len(numbers), 2)) else []


def _named(said: str, known: dict[str, str], default: str) -> str:
    """What a class that is described as ``<class 'a.b.Name'>`` is here; empty where nothing."""
    return known.get(said.rpartition(".")[2].rstrip("'>"), "") if said else default
