"""A learned world model as a TorchRL env whose observations are Gaussian beliefs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor
from torchrl.data import Categorical, Composite, Unbounded
from torchrl.envs import EnvBase
from torchrl.envs.model_based import ModelBasedEnvBase

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.env_rollout import can_unroll, unrolled
from imagine_cli.errors import InputError
from imagine_cli.propagation.base import Propagation, State
from imagine_cli.propagation.noise import Noise, TorchNoise
from imagine_cli.propagation.registry import make_propagation
from imagine_cli.unroll import ModelDynamics
from imagine_cli.world_models import as_world_model
from imagine_cli.world_models.interfaces import Prediction


class ImaginedEnv(ModelBasedEnvBase):  # type: ignore[misc]
    """An env that imagines: a world model steps it, the real env only lends its specs and resets.

    Observations are ``("observation", "mean")`` ``(*B, D)`` and ``("observation", "var")``
    ``(*B, D, D)``, a full covariance, symmetric and positive semi-definite. It never ends by
    itself: done, terminated and truncated are always False, and ``max_steps`` ends a rollout.
    Gradients flow through a rollout to the policy. The real env is never stepped.

    Where the world model writes a reward (``("next", "reward")``, or ``"mean"`` and ``"var"``
    below that) it is the env's; where it writes none the reward, which TorchRL's specs require,
    is zero, and :attr:`has_reward` says that nothing stands behind it.

    A reset starts from the belief in its argument (``("observation", "mean")`` and ``"var"``),
    from the plain ``"observation"`` in it (zero variance), or, given neither, from resets of the
    real env, one for each batch element, seeded by :meth:`set_seed`.

    What the propagation carries from step to step beside the belief, such as particles, is part
    of the observation, under ``"propagation"``, so that it goes where the observation goes. A
    reset draws it anew. Random numbers for it come from torch's global generator.

    Args:
        world_model_module: takes ``"action"`` and ``"observation"`` and writes the mean and the
            var (a covariance, or a vector of variances) of the next observation. Beliefs have the
            dtype it declares (a ``dtype`` attribute, else that of its parameters or buffers), or
            the real env's.
        base_env: the real env.
        batch_size: an int, a sequence or a Size; None takes ``base_env``'s, at least ``[1]``.
        next_observation_key: where the world model writes: ``"mean"`` and ``"var"`` below this.
        propagation: how a belief goes through a :class:`~imagine_cli.world_models.WorldModel`: a
            name, a :class:`~imagine_cli.propagation.Propagation`, or None for the model's own
            default. Any other module is its own propagation with None; with another one it is
            asked at points (:class:`~imagine_cli.world_models.module.ModuleWorldModel`).
        **kwargs: for :class:`~torchrl.envs.EnvBase`; ``device`` defaults to ``base_env``'s.

    Raises:
        InputError: a real env without a flat ``"observation"``, a world model of other sizes, or a
            propagation that doesn't fit it.

    Examples:
        >>> from torchrl.envs import GymEnv
        >>> from imagine_cli import ImaginedEnv, load_world_model
        >>> world_model = load_world_model("pendulum-gp.pt")  # of imagine sample
        >>> env = ImaginedEnv(world_model, GymEnv("Pendulum-v1"), batch_size=8)
        >>> env.rollout(max_steps=5)["next", "observation", "var"].shape
        torch.Size([8, 5, 3, 3])
    """

    def __init__(
        self,
        world_model_module: TensorDictModule,
        base_env: EnvBase,
        batch_size: int | Sequence[int] | torch.Size | None = None,
        next_observation_key: str | tuple[str, ...] = ("next", "observation"),
        propagation: str | Propagation | None = None,
        **kwargs: Any,
    ) -> None:
        if batch_size is None:
            batch_size = base_env.batch_size or (1,)
        shape = (batch_size,) if isinstance(batch_size, int) else tuple(batch_size)
        kwargs.setdefault("device", base_env.device)
        real = base_env.full_observation_spec_unbatched.get("observation", None)
        if real is None or isinstance(real, Composite) or len(real.shape) != 1:
            raise InputError(
                f'the real env has no flat "observation" of shape (D,): its observations are '
                f"{dict(base_env.full_observation_spec_unbatched.items())}"
            )
        size = real.shape[-1]
        model = as_world_model(
            world_model_module, size, _action_size(base_env),
            next_observation_key=next_observation_key, dtype=real.dtype, propagation=propagation,
        )  # fmt: skip
        super().__init__(model, batch_size=torch.Size(shape), **kwargs)
        self.next_observation_key = next_observation_key
        # Not a submodule: the real env is nobody's parameter.
        self.__dict__["base_env"] = base_env
        self.dynamics = ModelDynamics(model, make_propagation(propagation, model))
        self.belief_dtype: torch.dtype = self.dynamics.dtype
        dtype = self.belief_dtype
        self.observation_spec = Composite(
            observation=Composite(
                mean=Unbounded((*shape, size), device=self.device, dtype=dtype),
                var=Unbounded((*shape, size, size), device=self.device, dtype=dtype),
                shape=shape,
                device=self.device,
            ),
            **self._carried_specs(shape),
            shape=shape,
            device=self.device,
        )
        for name in ("action", "reward", "done"):
            spec = getattr(base_env, f"full_{name}_spec_unbatched").expand(shape).clone()
            setattr(self, f"full_{name}_spec", spec.to(self.device) if self.device else spec)
        self._done_keys: list[Any] = list(self.full_done_spec.keys(True, True))
        (self._reward_key,) = self.full_reward_spec.keys(True, True)

    @property
    def has_reward(self) -> bool:
        """Whether the world model says that it writes a reward."""
        return bool(self.world_model.has_reward)

    @property
    def propagation_used(self) -> str:
        """The propagation with its parameters; ``"module"`` for a module that is its own."""
        return self.dynamics.propagation.description

    def imagine(self, observation: Belief, action: ActionBelief) -> Prediction:
        """One step outside TensorDict: ``(*B, D)``, ``(*B, D, D)`` and ``(*B, F)`` to the next.

        What the propagation carries begins anew from the belief; :func:`imagine_cli.unroll.unroll`
        with :attr:`dynamics` keeps it.
        """
        noise = self.noise(observation.mean.shape[:-1])
        state = self.dynamics.begin(observation, noise)
        return self.dynamics.step(observation, action, state, noise)[0]

    def any_done(self, tensordict: TensorDictBase) -> bool:
        """False: nothing is ever done, and looking would cost a device a synchronisation."""
        return False

    def maybe_reset(self, tensordict: TensorDictBase) -> TensorDictBase:
        """``tensordict``: nothing is ever done."""
        return tensordict

    def rollout(self, max_steps: int, policy: Any = None, **options: Any) -> TensorDictBase:
        """As :meth:`torchrl.envs.EnvBase.rollout`, and the same to the bit, in less time.

        Where nothing but a policy and a start is asked for, the loop makes no TensorDict that the
        policy and the world model don't need.
        """
        if can_unroll(self, ImaginedEnv, max_steps, policy, options):
            return unrolled(
                self, max_steps, policy, options.get("tensordict"), options.get("auto_reset", True)
            )
        return super().rollout(max_steps, policy, **options)

    def transition(self, tensordict: TensorDictBase) -> tuple[Prediction, State]:
        """One step from a TensorDict with observation and action, which a module may write to."""
        return self.dynamics.step_from(tensordict, self.noise(tensordict.batch_size))

    def noise(self, shape: torch.Size) -> Noise:
        """Random numbers for a batch, from torch's global generator."""
        return TorchNoise(shape, self.belief_dtype, self.device)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        prediction, state = self.transition(tensordict.clone(recurse=False))
        belief = Belief(prediction.mean, prediction.var)
        out = self._with_dones(belief, state, tensordict.batch_size)
        dtype = self.full_reward_spec[self._reward_key].dtype
        if prediction.reward_mean is None:
            reward = belief.mean.new_zeros((*tensordict.batch_size, 1), dtype=dtype)
        else:
            reward = prediction.reward_mean.unsqueeze(-1).to(dtype)
        return out.set(self._reward_key, reward)

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        shape = self.batch_size if tensordict is None else tensordict.batch_size
        given = None if tensordict is None else tensordict.get("observation", None)
        if given is None:
            mean, var = self._real_resets(shape), None
        elif isinstance(given, Tensor):
            mean, var = given, None
        else:
            mean, var = given.get("mean"), given.get("var", None)
        mean = mean.to(device=self.device, dtype=self.belief_dtype)
        size = mean.shape[-1]
        mean = mean.expand(*shape, size)
        if var is None:
            var = mean.new_zeros((*shape, size, size))
        else:
            var = var.to(device=self.device, dtype=self.belief_dtype).expand(*shape, size, size)
        belief = Belief(mean, var)
        return self._with_dones(belief, self.dynamics.begin(belief, self.noise(shape)), shape)

    def _set_seed(self, seed: int | None) -> None:
        self.base_env.set_seed(seed)

    def _real_resets(self, shape: torch.Size) -> Tensor:
        count = math.prod(shape)
        each = max(1, self.base_env.batch_size.numel())
        observations = [
            self.base_env.reset().get("observation").reshape(each, -1)
            for _ in range(math.ceil(count / each))
        ]
        return torch.cat(observations)[:count].reshape(*shape, -1)

    def _carried_specs(self, shape: tuple[int, ...]) -> dict[str, Composite]:
        """The spec of ``"propagation"``, where there is anything to carry."""
        specs = {}
        for name, carried in self.dynamics.propagation.carried(self.world_model).items():
            place: dict[str, Any] = {"device": self.device, "dtype": carried.dtype}
            place["shape"] = (*shape, *carried.shape)
            choices = carried.choices
            specs[name] = Categorical(choices, **place) if choices else Unbounded(**place)
        if not specs:
            return {}
        return {"propagation": Composite(specs, shape=shape, device=self.device)}

    def _with_dones(self, belief: Belief, state: State, shape: torch.Size) -> TensorDictBase:
        mean, var = belief
        observation = TensorDict({"mean": mean, "var": var}, shape, device=self.device)
        out = TensorDict({"observation": observation}, shape, device=self.device)
        if state:
            out.set("propagation", TensorDict(dict(state), shape, device=self.device))
        for key in self._done_keys:
            out.set(key, torch.zeros((*shape, 1), dtype=torch.bool, device=mean.device))
        return out


def _action_size(base_env: EnvBase) -> int:
    spec = base_env.full_action_spec_unbatched["action"]
    return int(spec.space.n if not spec.shape else spec.shape[-1])
