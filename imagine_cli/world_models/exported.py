"""Programs that ``torch.export`` wrote, as world models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.base import DTYPES, WorldModel
from imagine_cli.world_models.interfaces import Conditional
from imagine_cli.world_models.output_keys import as_conditional, output_names, present
from imagine_cli.world_models.process_noise import check_process_noise, process_variances
from imagine_cli.world_models.program_module import ProgramModule, check_held
from imagine_cli.world_models.tiles import in_tiles

_INPUTS = ("observation", "action")


class ExportedWorldModel(ProgramModule, WorldModel):
    """Any module's program from a point and an action to the next observation's distribution.

    It gives the mean of the next observation, or of the difference if it is so declared; perhaps
    its variances or covariance; perhaps a reward, with or without a variance. A program without a
    var is deterministic: what comes to the next observation then is ``process_noise``, zero unless
    it was told. The program is run operator by operator
    (:mod:`~imagine_cli.world_models.program`), for one tile of points after the other, in the
    dtype it was exported in; ``dtype`` is that of the beliefs that go in and come out.
    """

    kind = "exported"

    _noise: Tensor

    def __init__(self, config: dict[str, Any], state: dict[str, Tensor]) -> None:
        super().__init__()
        self.observation_size = config["observation_size"]
        self.action_size = config["action_size"]
        self.dtype = DTYPES[config["dtype"]]
        self.reads: list[str] = list(config["in_keys"])
        self.writes: list[Any] = list(config["out_keys"])
        self.difference: bool = config["difference"]
        self.process_noise = [float(sd) for sd in config["process_noise"]]
        self._names = output_names(self.writes)
        self.hold(config["program"], state)
        computes_in = DTYPES[config["computes_in"]]
        noise = process_variances(self.process_noise, self.observation_size, computes_in)
        self.register_buffer("_noise", noise, persistent=False)
        self.has_reward = "reward_mean" in self._names
        if self.has_reward:
            self.out_keys += [("next", "reward", "mean"), ("next", "reward", "var")]

    @property
    def computes_in(self) -> torch.dtype:
        """The dtype of the program's numbers, which ``float()`` and ``double()`` change."""
        return self._noise.dtype

    @property
    def deterministic(self) -> bool:
        """Whether the program gives no variance of its own."""
        return "var" not in self._names

    def conditional(self, x: Tensor, u: Tensor, member: Tensor | None = None) -> Conditional:
        shape, size = x.shape[:-1], self.observation_size
        points = torch.cat([x, u], dim=-1).to(self.computes_in).reshape(-1, size + self.action_size)
        found = in_tiles(self._tile, points)
        parts = [part.to(self.dtype).reshape(*shape, *part.shape[1:]) for part in found]
        return Conditional(*parts)

    def _tile(self, points: Tensor) -> tuple[Tensor, ...]:
        size = self.observation_size
        x, u = points[:, :size].contiguous(), points[:, size:].contiguous()
        values = self.run({"observation": x, "action": u})
        written = {name: value for name, value in zip(self._names, values, strict=True) if name}
        return present(as_conditional(written, x, difference=self.difference, noise=self._noise))

    def config(self) -> dict[str, Any]:
        return {
            "observation_size": self.observation_size,
            "action_size": self.action_size,
            "dtype": str(self.dtype).removeprefix("torch."),
            "computes_in": str(self.computes_in).removeprefix("torch."),
            "in_keys": self.reads,
            "out_keys": self.writes,
            "difference": self.difference,
            "process_noise": self.process_noise,
            "program": self.program,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], state: dict[str, Tensor]) -> ExportedWorldModel:
        check_held(config.get("program"), state, _INPUTS, "model")
        _check(config)
        model = cls(config, state)
        sizes = {"observation": model.observation_size, "action": model.action_size}
        model.check_runs(model._tile, sizes, model.computes_in, (2, 32))
        return model

    def describe(self) -> dict[str, Any]:
        described: dict[str, Any] = {
            "operators": len(self.program["steps"]),
            "parameters": sum(getattr(self, name).numel() for name in self._tensors),
            "predicts": "the difference" if self.difference else "the next observation",
            "variance": "its own",
        }
        if self.deterministic:
            described["variance"] = "none, it is deterministic"
            described["process noise"] = self.process_noise or 0.0
        return described


def _check(config: dict[str, Any]) -> None:
    sizes = [config.get(name) for name in ("observation_size", "action_size")]
    if any(type(size) is not int or not 0 < size < 100_000 for size in sizes):
        raise InputError(f"an exported model needs observation_size and action_size, not {sizes}")
    for name in ("dtype", "computes_in"):
        if str(config.get(name)) not in DTYPES:
            raise InputError(f"an exported model needs a {name} of float32 or float64")
    if sorted(map(str, config.get("in_keys") or [])) != sorted(_INPUTS):
        raise InputError(
            f"an exported model reads 'observation' and 'action', not {config.get('in_keys')}"
        )
    keys = config.get("out_keys")
    if not isinstance(keys, list) or not all(
        isinstance(key, str) or (isinstance(key, list) and all(isinstance(k, str) for k in key))
        for key in keys
    ):
        raise InputError(f"the out_keys of an exported model are {keys}, not keys")
    found = output_names(keys)
    if len(found) != len(config["program"]["outputs"]):
        raise InputError("an exported model needs an out_key for each output of its program")
    if not isinstance(config.get("difference"), bool):
        raise InputError("an exported model needs to say whether it predicts the difference")
    size, computes_in = config["observation_size"], DTYPES[config["computes_in"]]
    noise = config.get("process_noise")
    if not isinstance(noise, list):
        raise InputError(f"the process_noise of an exported model is {noise}, not a list")
    check_process_noise(noise, size, computes_in, deterministic="var" not in found)
