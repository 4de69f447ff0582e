"""World models with a latent state of their own, as programs: RSSM, Dreamer, TD-MPC2, ..."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.errors import InputError
from imagine_cli.world_models.base import DTYPES, WorldModel
from imagine_cli.world_models.interfaces import Conditional, Prediction
from imagine_cli.world_models.output_keys import as_conditional, present
from imagine_cli.world_models.program import check_program, part_of
from imagine_cli.world_models.program_module import ProgramModule, check_held
from imagine_cli.world_models.tiles import in_tiles

INPUTS = ("observation", "latent", "action", "noise")
OUTPUTS = ("encoded", "latent", "mean", "var", "reward_mean", "reward_var", "end")


class LatentWorldModel(ProgramModule, WorldModel):
    """A latent state that begins from an observation, steps with an action, and is decoded.

    One program reads ``"observation"`` ``(N, D)``, ``"latent"`` ``(N, L)``, ``"action"``
    ``(N, F)`` and, where it is random, ``"noise"``, standard normal numbers; it gives

    - ``"encoded"`` ``(N, L)``, of observation and noise: the latent state that begins there;
    - ``"latent"`` ``(N, L)``, of latent state, action and noise: the one a step later;
    - of that one the ``"mean"`` of the observation; perhaps its ``"var"``, zero otherwise; perhaps
      a reward, and the probability to ``"end"`` there.

    What there is of a reward counts as far as the trajectory has not ended before: the last number
    of the latent states that are carried is then the probability of that. Observations go on.
    Only parts of the program are ever run, see
    :func:`~imagine_cli.world_models.program.part_of`; a tile of points after the other, in the
    dtype it was exported in.
    """

    kind = "latent"
    propagation = "particles"

    _like: Tensor

    def __init__(self, config: dict[str, Any], state: dict[str, Tensor]) -> None:
        super().__init__()
        self.observation_size = config["observation_size"]
        self.action_size = config["action_size"]
        self.noise_size = config["noise_size"]
        self.dtype = DTYPES[config["dtype"]]
        self.gives: list[str] = list(config["outputs"])
        self._ends = "end" in self.gives
        self._size: int = config["latent_size"]
        self.latent_size = self._size + self._ends
        self.hold(config["program"], state)
        outputs = self.program["outputs"]
        self._encoder = part_of(self.program, outputs[:1])
        self._dynamics = part_of(self.program, outputs[1:])
        like = torch.zeros(self.observation_size, dtype=DTYPES[config["computes_in"]])
        self.register_buffer("_like", like, persistent=False)
        self.has_reward = "reward_mean" in self.gives
        if self.has_reward:
            self.out_keys += [("next", "reward", "mean"), ("next", "reward", "var")]

    @property
    def computes_in(self) -> torch.dtype:
        """The dtype of the program's numbers, which ``float()`` and ``double()`` change."""
        return self._like.dtype

    def encode(self, x: Tensor, noise: Tensor) -> Tensor:
        sizes = {"observation": self.observation_size, "noise": self.noise_size}

        def tile(points: Tensor) -> tuple[Tensor, ...]:
            (latent,) = self.run(_parts(points, sizes), self._encoder)
            return (self._checked("encoded", latent, points),)

        (latent,) = self._through(tile, x, noise)
        return torch.cat([latent, torch.ones_like(latent[..., :1])], -1) if self._ends else latent

    def advance(self, latent: Tensor, u: Tensor, noise: Tensor) -> tuple[Tensor, Conditional]:
        latent, alive = latent[..., : self._size], latent[..., self._size :]
        found = list(self._through(self._step, latent, u, noise))
        following = found.pop(0)
        if self._ends:
            following = torch.cat([following, alive * (1.0 - found.pop())], dim=-1)
        mean, var, *reward = found
        if self._ends and reward:
            alive = alive[..., 0]
            reward = [alive * reward[0], alive.square() * reward[1]]
        return following, Conditional(mean, var, *reward)

    def _step(self, points: Tensor) -> tuple[Tensor, ...]:
        """The latent state, the parts of the conditional, and the probability to end ``(N, 1)``."""
        sizes = {"latent": self._size, "action": self.action_size, "noise": self.noise_size}
        values = self.run(_parts(points, sizes), self._dynamics)
        found = dict(zip(self.gives[1:], values, strict=True))
        latent = self._checked("latent", found.pop("latent"), points)
        end = found.pop("end", None)
        x = self._like.expand(len(points), -1)
        parts = present(as_conditional(found, x, difference=False, noise=self._like))
        if end is None:
            return (latent, *parts)
        if end.numel() != len(points):
            raise InputError(f"it gives an end of shape {tuple(end.shape)} at {len(points)} points")
        return (latent, *parts, end.reshape(-1, 1).clamp(0.0, 1.0))

    def _checked(self, name: str, latent: Tensor, points: Tensor) -> Tensor:
        if latent.shape != (len(points), self._size):
            raise InputError(
                f"it gives a latent state ({name}) of shape {tuple(latent.shape)}, not "
                f"{(len(points), self._size)}"
            )
        return latent

    def _through(self, tile: Any, *given: Tensor) -> list[Tensor]:
        points = torch.cat(given, dim=-1).to(self.computes_in)
        shape, size = points.shape[:-1], points.shape[-1]
        found = in_tiles(tile, points.reshape(-1, size))
        return [part.to(self.dtype).reshape(*shape, *part.shape[1:]) for part in found]

    def predict(self, belief: Belief, action: ActionBelief) -> Prediction:
        raise InputError(
            "a latent world model can't be asked for the step from a belief alone, as it goes on "
            "from its latent state; imagine with it by the propagation particles"
        )

    def config(self) -> dict[str, Any]:
        return {
            "observation_size": self.observation_size,
            "action_size": self.action_size,
            "latent_size": self._size,
            "noise_size": self.noise_size,
            "dtype": str(self.dtype).removeprefix("torch."),
            "computes_in": str(self.computes_in).removeprefix("torch."),
            "outputs": self.gives,
            "program": self.program,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], state: dict[str, Tensor]) -> LatentWorldModel:
        check_held(config.get("program"), state, INPUTS, "model")
        _check(config)
        model = cls(config, state)
        for part, reads in (("_encoder", "observation"), ("_dynamics", "latent action")):
            check_program(getattr(model, part), list(state), [*reads.split(), "noise"])
        sizes = {
            "observation": model.observation_size, "latent": model._size,
            "action": model.action_size, "noise": model.noise_size,
        }  # fmt: skip

        def answer(points: Tensor) -> tuple[Tensor, ...]:
            x, latent, u, noise = _parts(points, sizes).values()
            encoded = model.encode(x, noise)
            after = model._step(torch.cat([latent, u, noise], dim=-1))
            return (encoded, *after)

        model.check_runs(answer, sizes, model.computes_in, (2, 32))
        return model

    def describe(self) -> dict[str, Any]:
        return {
            "operators": len(self.program["steps"]),
            "parameters": sum(getattr(self, name).numel() for name in self._tensors),
            "latent state": self._size,
            "random numbers a step": self.noise_size,
            "decodes to": ", ".join(self.gives[2:]),
        }


def _parts(points: Tensor, sizes: dict[str, int]) -> dict[str, Tensor]:
    split = torch.split(points, list(sizes.values()), dim=-1)
    return {name: part.contiguous() for name, part in zip(sizes, split, strict=True)}


def _check(config: dict[str, Any]) -> None:
    sizes = {name: config.get(f"{name}_size") for name in INPUTS}
    for name, size in sizes.items():
        if type(size) is not int or not (name != "noise") <= size < 100_000:
            raise InputError(f"a latent world model needs a {name}_size, not {size}")
    for name in ("dtype", "computes_in"):
        if str(config.get(name)) not in DTYPES:
            raise InputError(f"a latent world model needs a {name} of float32 or float64")
    gives: Any = config.get("outputs")
    if not (
        isinstance(gives, list)
        and gives[:2] == ["encoded", "latent"]
        and "mean" in gives
        and all(name in OUTPUTS and gives.count(name) == 1 for name in gives)
    ):
        raise InputError(f"the outputs of a latent world model are {gives}, not of {OUTPUTS}")
    if len(gives) != len(config["program"]["outputs"]):
        raise InputError("a latent world model needs a name for each output of its program")
    if "reward_var" in gives and "reward_mean" not in gives:
        raise InputError("a latent world model that gives a reward's variance needs its mean")
