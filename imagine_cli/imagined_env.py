"""A learned world model as a TorchRL env whose observations are Gaussian beliefs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor
from torchrl.data import Categorical, Composite, Unbounded
from torchrl.envs import EnvBase
from torchrl.envs.model_based import ModelBasedEnvBase

from imagine_cli.belief import ActionBelief, Belief, nearest_covariance
from imagine_cli.errors import InputError
from imagine_cli.lean_rollout import can_be_lean, lean_rollout
from imagine_cli.propagation.base import Propagation, State
from imagine_cli.propagation.noise import Noise, TorchNoise
from imagine_cli.propagation.registry import make_propagation
from imagine_cli.world_models.base import WorldModel, read_action, read_observation
from imagine_cli.world_models.belief_module import module_step, pilco_action, writes_reward
from imagine_cli.world_models.interfaces import Prediction
from imagine_cli.world_models.module import ModuleWorldModel, declared_dtype

__all__ = ["ImaginedEnv"]


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
        >>> world_model = load_world_model("sample_models/pendulum-gp.pt")
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
        dtype = declared_dtype(world_model_module) or real.dtype
        if not dtype.is_floating_point:
            dtype = torch.get_default_dtype()
        if propagation is not None and not isinstance(world_model_module, WorldModel):
            world_model_module = ModuleWorldModel(
                world_model_module, size, _action_size(base_env),
                next_observation_key=next_observation_key, dtype=dtype,
            )  # fmt: skip
        super().__init__(world_model_module, batch_size=torch.Size(shape), **kwargs)
        self.next_observation_key = next_observation_key
        # Not a submodule: the real env is nobody's parameter.
        self.__dict__["base_env"] = base_env
        self._check_sizes(size)
        self.belief_dtype: torch.dtype = dtype
        self.propagation: Propagation | None = None
        if isinstance(world_model_module, WorldModel):
            self.propagation = make_propagation(propagation, world_model_module)
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
        if isinstance(self.world_model, WorldModel):
            return self.world_model.has_reward
        return writes_reward(self.world_model)

    @property
    def propagation_used(self) -> str:
        """The propagation with its parameters; ``"module"`` for a module that is its own."""
        return "module" if self.propagation is None else self.propagation.description

    def imagine(self, observation: Belief, action: ActionBelief) -> Prediction:
        """One step outside TensorDict: ``(*B, D)``, ``(*B, D, D)`` and ``(*B, F)`` to the next.

        What the propagation carries begins anew from the belief; :meth:`begin` and
        :meth:`advance` keep it.
        """
        state = self.begin(observation)
        return self.advance(observation, action, state)[0]

    def begin(self, observation: Belief, noise: Noise | None = None) -> State:
        """What the propagation carries at a belief that a trajectory starts from: often nothing."""
        if self.propagation is None:
            return {}
        noise = noise or self._noise(observation.mean.shape[:-1])
        return self.propagation.begin(self.world_model, observation, noise)

    def advance(
        self,
        observation: Belief,
        action: ActionBelief,
        state: State,
        noise: Noise | None = None,
    ) -> tuple[Prediction, State]:
        """One step outside TensorDict, with what the propagation carries.

        Args:
            observation: ``(*B, D)`` and ``(*B, D, D)``.
            action: ``(*B, F)``.
            state: of :meth:`begin` or the last step.
            noise: where random numbers come from; torch's global generator if None.
        """
        if self.propagation is not None:
            noise = noise or self._noise(observation.mean.shape[:-1])
            prediction, state = self.propagation.step(
                self.world_model, observation, action, state, noise
            )
            return self._settle(prediction), state
        shape = observation.mean.shape[:-1]
        believed = {"mean": observation.mean, "var": observation.var}
        certain = action.var is None and action.cross_covariance is None
        entries: dict[str, Any] = {
            "observation": TensorDict(believed, shape, device=self.device),
            "action": action.mean if certain else pilco_action(observation, action),
        }
        return self._settle(
            self._module_step(TensorDict(entries, shape, device=self.device))
        ), state

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
        if can_be_lean(self, ImaginedEnv, max_steps, policy, options):
            return lean_rollout(
                self, max_steps, policy, options.get("tensordict"), options.get("auto_reset", True)
            )
        return super().rollout(max_steps, policy, **options)

    def transition(self, tensordict: TensorDictBase) -> tuple[Prediction, State]:
        """One step from a TensorDict with observation and action, which a module may write to."""
        if not isinstance(self.world_model, WorldModel):
            return self._settle(self._module_step(tensordict)), {}
        model = self.world_model
        carried = tensordict.get("propagation", None)
        return self.advance(
            read_observation(tensordict, model.dtype),
            read_action(tensordict, model.action_size, model.dtype),
            {} if carried is None else dict(carried.items()),
        )

    def _module_step(self, tensordict: TensorDictBase) -> Prediction:
        return module_step(
            self.world_model, tensordict, self.next_observation_key, self.belief_dtype
        )

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
        return self._with_dones(Belief(mean, var), self.begin(Belief(mean, var)), shape)

    def _set_seed(self, seed: int | None) -> None:
        self.base_env.set_seed(seed)

    def _real_resets(self, shape: torch.Size) -> Tensor:
        wanted = math.prod(shape)
        each = max(1, self.base_env.batch_size.numel())
        starts = [
            self.base_env.reset().get("observation").reshape(each, -1)
            for _ in range(math.ceil(wanted / each))
        ]
        return torch.cat(starts)[:wanted].reshape(*shape, -1)

    def _noise(self, shape: torch.Size) -> Noise:
        return TorchNoise(shape, self.belief_dtype, self.device)

    def _carried_specs(self, shape: tuple[int, ...]) -> dict[str, Composite]:
        """The spec of ``"propagation"``, where there is anything to carry."""
        if self.propagation is None:
            return {}
        specs = {}
        for name, carried in self.propagation.carried(self.world_model).items():
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

    def _settle(self, prediction: Prediction) -> Prediction:
        """The prediction as the specs promise it: dtype, symmetry, positive semi-definiteness."""
        mean = prediction.mean.to(self.belief_dtype)
        var, repaired = nearest_covariance(prediction.var.to(self.belief_dtype))
        if repaired:
            warnings.warn(
                "the world model gave a covariance that is not positive semi-definite; its "
                "negative eigenvalues are set to zero",
                stacklevel=2,
            )
        return prediction._replace(mean=mean, var=var)

    def _check_sizes(self, size: int) -> None:
        model = self.world_model
        if not isinstance(model, WorldModel):
            return
        actions = _action_size(self.base_env)
        if (model.observation_size, model.action_size) != (size, actions):
            raise InputError(
                f"the world model is for observations of size {model.observation_size} and "
                f"actions of size {model.action_size}, but the env has {size} and {actions}"
            )


def _action_size(base_env: EnvBase) -> int:
    spec = base_env.full_action_spec_unbatched["action"]
    return int(spec.space.n if not spec.shape else spec.shape[-1])
