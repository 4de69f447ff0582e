"""What an mbrl-lib run says of its model beside the weights: the Hydra config in its folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from imagine_cli.errors import InputError, MissingExtraError

_LARGEST = 2**18

_ACTIVATIONS = {
    "torch.nn.ReLU": "relu",
    "torch.nn.SiLU": "silu",
    "torch.nn.LeakyReLU": "leaky_relu",
    "torch.nn.Tanh": "tanh",
}


@dataclass(frozen=True)
class Told:
    """What the weights of an mbrl-lib model don't say; None where nobody says it.

    Attributes:
        activation: of the hidden layers.
        learned_rewards: whether the last output is the reward.
        target_is_delta: whether differences are predicted.
        no_delta: the dimensions that are predicted as they are all the same.
        normalize: whether inputs are standardised.
        notes: what else is worth keeping: plain data.
    """

    activation: str | None = None
    learned_rewards: bool | None = None
    target_is_delta: bool | None = None
    no_delta: tuple[int, ...] | None = None
    normalize: bool | None = None
    notes: tuple[tuple[str, Any], ...] = ()

    def over(self, other: Told) -> Told:
        """What is said here, and from ``other`` what is not."""
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        if not self.notes:
            said["notes"] = None
        return Told(**{k: getattr(other, k) if v is None else v for k, v in said.items()})


def config_path(folder: Path) -> Path:
    """Where Hydra leaves the config of a run."""
    return folder / ".hydra" / "config.yaml"


def read_config(folder: Path) -> Told:
    """What ``.hydra/config.yaml`` in the folder says; nothing where there is none.

    Raises:
        InputError: a config that can't be read, or of a model that is none of those read here.
        MissingExtraError: PyYAML is not installed.
    """
    path = config_path(folder)
    if not path.is_file():
        return Told()
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError(f"{path} is YAML, and PyYAML", "mbrl") from error
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST} bytes")
        text = path.read_text(encoding="utf-8")
        if "<<" in text:  # mappings of mappings of mappings: a few lines that fill memory
            raise ValueError("it merges mappings (<<)")
        config = yaml.safe_load(text)
    except Exception as error:  # "!!int ''" is an IndexError, "!!bool x" a KeyError
        raise InputError(f"{path} can't be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict) or not isinstance(config.get("dynamics_model"), dict):
        raise InputError(f"{path} has no dynamics_model, so that it is no config of mbrl-lib")

    def at(*keys: str) -> Any:
        return _lookup(config, keys, path)

    process = at("overrides", "obs_process_fn")
    if process is not None:
        raise InputError(
            f"{path} puts observations through obs_process_fn {_shown(process)}, which is code of "
            "its own: such a model can't be read without it"
        )
    model: tuple[str, ...] = ("dynamics_model",)
    if at(*model, "model") is not None:  # where versions before 0.2 have it
        model = ("dynamics_model", "model")
    target = _shown(at(*model, "_target_")).rpartition(".")[2]
    if target not in ("GaussianMLP", "BasicEnsemble"):
        raise InputError(
            f"{path} is of a {target}; of mbrl-lib's models, GaussianMLP and BasicEnsemble are read"
        )
    member = (*model, "member_cfg") if target == "BasicEnsemble" else model
    no_delta = at("overrides", "no_delta_list") or []
    if not isinstance(no_delta, list) or any(type(k) is not int for k in no_delta):
        raise InputError(f"{path} has a no_delta_list that is no list of whole numbers")
    flags = ("learned_rewards", "target_is_delta", "normalize")
    said = {name: at("algorithm", name) for name in flags}
    wrong = [name for name, value in said.items() if not isinstance(value, (bool, type(None)))]
    if wrong:
        raise InputError(f"{path} has {wrong[0]} {_shown(said[wrong[0]])}, not true or false")
    notes = {
        "class": target,
        "env": at("overrides", "env"),
        "propagation_method": at(*model, "propagation_method"),
    }
    return Told(
        activation=_activation(at(*member, "activation_fn_cfg"), path),
        no_delta=tuple(no_delta) or None,
        notes=tuple((key, _shown(value)) for key, value in notes.items() if value is not None),
        **said,
    )


def _lookup(config: Any, keys: tuple[str, ...], path: Path, depth: int = 0) -> Any:
    """The value at ``keys``, with ``${other.keys}`` followed; None where it is not."""
    value = config
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    elsewhere = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    if elsewhere is None:
        return value
    if depth > 8:
        raise InputError(f"{path}: {'.'.join(keys)} refers to itself")
    return _lookup(config, tuple(elsewhere[1].split(".")), path, depth + 1)


def _activation(config: Any, path: Path) -> str:
    if config is None:
        return "relu"  # what mbrl-lib takes where nothing is said
    name = _shown(config.get("_target_") if isinstance(config, dict) else config)
    slope = config.get("negative_slope", 0.01) if isinstance(config, dict) else 0.01
    if name not in _ACTIVATIONS or slope != 0.01:
        raise InputError(
            f"{path} has the activation {name}, and an ensemble here has one of "
            f"{', '.join(_ACTIVATIONS)} with torch's own settings"
        )
    return _ACTIVATIONS[name]


def _shown(value: Any) -> str:
    """A string as it is, and of anything else its type: a YAML file's lists may have no end."""
    return value[:200] if isinstance(value, str) else type(value).__name__
