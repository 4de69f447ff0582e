"""The ensemble of Gaussian networks of PETS."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from imagine_cli.errors import InputError
from imagine_cli.world_models.base import DTYPES, WorldModel
from imagine_cli.world_models.ensemble_checks import SCALES, check_state
from imagine_cli.world_models.fused_layers import FusedLayers, may_fuse
from imagine_cli.world_models.interfaces import Conditional
from imagine_cli.world_models.networks import ACTIVATIONS, bounded_variance, through
from imagine_cli.world_models.process_noise import process_variances
from imagine_cli.world_models.tiles import Groups, group_rows, in_tiles, padded

# Numbers in a layer: below, calls of oneDNN cost more than they save (by 1.5 at 5 x 40 x 128).
_FUSED_FROM = 2**16


class EnsembleWorldModel(WorldModel):
    """M networks, each of which gives a mean and a variance (Chua et al. 2018, appendix A.1).

    A network takes the standardised observation and action and gives, in standard units of the
    difference ``next - current`` (and of the reward, last), means and log-variances; the latter
    are bounded softly by two learned vectors. The elites answer: one of them where a member is
    asked for, otherwise all, as a mixture. A layer of all networks is one batched matrix product,
    or on a CPU in float32, where no derivative is asked for, one call of :class:`FusedLayers`.
    Networks may give some dimensions' next values themselves in place of differences, and may be
    deterministic: means alone, with a process noise that is zero unless it is told.

    Arithmetic is in the dtype of the weights; inputs are standardised in that of ``input_mean``,
    which may be wider. ``dtype`` is that of the beliefs that go in and out. The weights are
    constants here; ``imagine fit`` trains.

    Attributes:
        members: how many elites there are.
    """

    kind = "ensemble"
    propagation = "particles"
    member_size = 0  # nothing is drawn

    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor
    min_logvar: Tensor
    max_logvar: Tensor
    elites: Tensor
    _noise: Tensor
    _differs: Tensor

    def __init__(self, state: dict[str, Tensor], config: dict[str, Any]) -> None:
        super().__init__()
        self.has_reward = config["reward"]
        self.activation: str = config["activation"]
        self.dtype = DTYPES[config["dtype"]]
        self.absolute: list[int] = list(config.get("absolute", []))
        self.deterministic: bool = config.get("deterministic", False)
        self.process_noise: list[float] = [float(sd) for sd in config.get("process_noise", [])]
        self._layers = sum(name.startswith("weight") for name in state)
        for name, value in state.items():
            self.register_buffer(name, value)
        _choose(self)
        self.register_load_state_dict_post_hook(_choose)
        self._fused = FusedLayers()
        self._groups: Groups | None = None  # a particle's member is mostly that of the step before
        self.members = len(self.elites)
        self.observation_size = len(self.target_mean) - self.has_reward
        self.action_size = len(self.input_mean) - self.observation_size
        size, noise = self.observation_size, torch.zeros_like(self.target_mean)
        noise[:size] = process_variances(self.process_noise, size, noise.dtype)
        self.register_buffer("_noise", noise, persistent=False)
        differs = torch.ones(self.observation_size, dtype=torch.bool)
        differs[self.absolute] = False
        self.register_buffer("_differs", differs, persistent=False)
        if self.has_reward:
            self.out_keys += [("next", "reward", "mean"), ("next", "reward", "var")]

    @classmethod
    def from_parameters(
        cls,
        weights: list[Any],
        biases: list[Any],
        *,
        min_logvar: Any,
        max_logvar: Any,
        elites: Any = None,
        input_mean: Any = None,
        input_scale: Any = None,
        target_mean: Any = None,
        target_scale: Any = None,
        reward: bool = False,
        activation: str = "silu",
        dtype: torch.dtype = torch.float64,
    ) -> EnsembleWorldModel:
        """The ensemble of given parameters.

        Args:
            weights: of each layer, first to last, ``(M, in, out)``; the last one's out is 2 K, K
                means and then K log-variances, with K = D, or D + 1 with a reward.
            biases: of each layer, ``(M, out)``.
            min_logvar, max_logvar: the soft bounds of the log-variances, ``(K,)``.
            elites: which of the M answer; all if None.
            input_mean, input_scale: what inputs are standardised with, ``(D+F,)``.
            target_mean, target_scale: what the outputs are in units of, ``(K,)``.
            reward: whether the last output is the reward.
            activation: silu, relu, leaky_relu or tanh.
            dtype: of the beliefs that go in and come out.

        Raises:
            InputError: shapes that don't fit together, or numbers that are not finite.
        """
        first = torch.as_tensor(weights[0])

        def tensor(value: Any) -> Tensor:
            return torch.as_tensor(value, dtype=first.dtype)

        state = {f"weight{k}": tensor(value) for k, value in enumerate(weights)}
        state |= {f"bias{k}": tensor(value) for k, value in enumerate(biases)}
        state |= {"min_logvar": tensor(min_logvar), "max_logvar": tensor(max_logvar)}
        ins, outs = torch.zeros(first.shape[1]), torch.zeros(state["min_logvar"].numel())
        neutral = (ins, ins + 1.0, outs, outs + 1.0)
        given = (input_mean, input_scale, target_mean, target_scale)
        for name, value, default in zip(SCALES, given, neutral, strict=True):
            state[name] = tensor(default if value is None else value)
        chosen = range(first.shape[0]) if elites is None else elites
        state["elites"] = torch.as_tensor(list(chosen), dtype=torch.int64)
        state = {name: value.detach().clone() for name, value in state.items()}
        name = str(dtype).removeprefix("torch.")
        return cls.from_config({"reward": reward, "activation": activation, "dtype": name}, state)

    def conditional(self, x: Tensor, u: Tensor, member: Tensor | None = None) -> Conditional:
        shape = x.shape[:-1]
        points = torch.cat([x, u], dim=-1).to(self.input_mean.dtype)
        points = points.reshape(-1, points.shape[-1])
        standard = ((points - self.input_mean) / self.input_scale).to(self.target_mean.dtype)
        standard = padded(standard, -1)
        if member is None:
            mean, var = self._mixture(standard)
        else:
            rows = group_rows(standard, member.shape[-1] if member.ndim else 1, self.members)
            member = member.reshape(-1)
            groups = self._groups  # which another thread may replace
            if groups is None or not groups.same(member, rows):
                groups = self._groups = Groups(member, self.members, rows)
            values = groups.through(self._each, standard)
            mean, var = self._moments(values, member)
        mean, var = mean.to(self.dtype), var.to(self.dtype)
        size = self.observation_size
        following = mean[:, :size].reshape(x.shape)
        if self.absolute:
            following = torch.where(self._differs, x + following, following)
        else:
            following = x + following
        rewards = [part[:, size].reshape(shape) for part in (mean, var) if self.has_reward]
        return Conditional(following, var[:, :size].reshape(x.shape), *rewards)

    def _each(self, standard: Tensor) -> Tensor:
        """What every elite gives, ``(rows, m, 2 K or more)``, at inputs ``(rows, m, E)``."""
        layers = [
            (getattr(self, f"_elite_weight{k}"), getattr(self, f"_elite_bias{k}"))
            for k in range(self._layers)
        ]
        if len(standard) * layers[0][1].numel() >= _FUSED_FROM and may_fuse(standard):
            values = self._fused(layers, standard, self.activation)
            if values is not None:
                return values
        side_by_side = standard.transpose(0, 1).contiguous()
        return through(layers, side_by_side, self.activation).transpose(0, 1)

    def _moments(self, values: Tensor, member: Tensor | None) -> tuple[Tensor, Tensor]:
        """Means and variances ``(*S, K)`` that outputs ``(*S, 2 K or more)`` stand for.

        ``member`` is the elite of each, ``(*S,)``, or None where they are along the last axis of
        ``*S``.
        """
        outputs = len(self.target_mean)
        mean = self.target_mean + self.target_scale * values[..., :outputs]
        if self.deterministic:
            return mean, self._noise.expand_as(mean)
        low, high = self.min_logvar, self.max_logvar
        if low.ndim == 2:  # each network has bounds of its own
            networks = self.elites if member is None else self.elites[member]
            low, high = low[networks], high[networks]
        var = bounded_variance(values[..., outputs : 2 * outputs], low, high)
        return mean, self.target_scale.square() * var

    def _mixture(self, standard: Tensor) -> tuple[Tensor, Tensor]:
        """All elites at the same inputs ``(N, E)``, as one mean and variance ``(N, K)``."""

        def each(tile: Tensor) -> tuple[Tensor]:
            return (self._each(tile.unsqueeze(1).expand(-1, self.members, -1)),)

        (values,) = in_tiles(each, standard)
        means, variances = (part.unbind(1) for part in self._moments(values, None))
        # One after another: a sum over an axis adds in an order that may depend on the place.
        mean = reduce(torch.add, means) / self.members
        spread = reduce(torch.add, [(one - mean).square() for one in means]) / self.members
        return mean, spread + reduce(torch.add, variances) / self.members

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "reward": self.has_reward,
            "activation": self.activation,
            "dtype": str(self.dtype).removeprefix("torch."),
        }
        for name in ("absolute", "deterministic", "process_noise"):
            if getattr(self, name):
                config[name] = getattr(self, name)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], state: dict[str, Tensor]) -> EnsembleWorldModel:
        if (
            not isinstance(config.get("reward"), bool)
            or not isinstance(config.get("deterministic", False), bool)
            or str(config.get("activation")) not in ACTIVATIONS
            or str(config.get("dtype")) not in DTYPES
        ):
            raise InputError(
                "an ensemble needs reward (true or false), activation "
                f"({', '.join(ACTIVATIONS)}) and dtype (float32 or float64) in its config, "
                f"not {config}"
            )
        check_state(state, config)
        return cls(state, config)

    def describe(self) -> dict[str, Any]:
        hidden = [getattr(self, f"weight{k}").shape[-1] for k in range(self._layers - 1)]
        described: dict[str, Any] = {
            "members": int(self.weight0.shape[0]),
            "elites": self.elites.tolist(),
            "hidden units": hidden,
            "activation": self.activation,
        }
        if self.absolute:
            described["predicted as they are"] = self.absolute
        if self.deterministic:
            described["deterministic"] = True
            described["process noise"] = self.process_noise or 0.0
        return described


def _choose(model: EnsembleWorldModel, *_: Any) -> None:
    """Lay the parameters of what answers side by side, padded."""
    for k in range(model._layers):
        for name, axes in (("weight", (-1, -2)), ("bias", (-1,))):
            chosen = padded(getattr(model, f"{name}{k}")[model.elites], *axes)
            model.register_buffer(f"_elite_{name}{k}", chosen.contiguous(), persistent=False)
