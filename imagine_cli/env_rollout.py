"""``ImaginedEnv.rollout`` as an unroll: without the TensorDicts that nobody looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.envs.utils import RandomPolicy

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.policies.base import Policy, PolicyState
from imagine_cli.propagation.base import State
from imagine_cli.propagation.noise import Noise
from imagine_cli.unroll import unroll
from imagine_cli.world_models.interfaces import Prediction

# Options of EnvBase.rollout that change nothing where nothing is ever done and nothing is moved.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "auto_cast_to_device": (False,),
    "break_when_all_done": (None, False, True),
    "break_when_any_done": (None, False, True),
    "return_contiguous": (None, False, True),
    "trust_policy": (False, True),
}

_METHODS = ("step", "_step", "step_mdp", "rand_action", "maybe_reset", "transition")


def can_unroll(env: Any, known: type, max_steps: int, policy: Any, options: dict[str, Any]) -> bool:
    """Whether :func:`unrolled` does all that is asked for of an ImaginedEnv.

    It does not for a callback or another rare option; a start with entries beside the env's own; a
    policy that is no TensorDictModule, or that writes below ``"next"``, as recurrent ones do, or
    among the env's own entries; or a subclass of ``known`` with a step of its own.
    """
    if max_steps < 1 or env.run_type_checks or env._post_step_mdp_hooks is not None:
        return False
    if any(getattr(type(env), name) is not getattr(known, name) for name in _METHODS):
        return False
    start, auto_reset = options.get("tensordict"), options.get("auto_reset", True)
    for name, value in options.items():
        if name not in ("auto_reset", "tensordict") and not (
            value is None or any(value is harmless for harmless in _HARMLESS.get(name, ()))
        ):
            return False
    if options.get("break_when_all_done") and options.get("break_when_any_done"):
        return False  # TorchRL's error
    if start is None and not auto_reset:
        return False  # likewise
    keys = {*env.observation_spec.keys(), *env.full_done_spec.keys()}
    if start is not None:
        if start.batch_size != env.batch_size or not set(start.keys()) <= keys:
            return False
        if not auto_reset and not keys <= set(start.keys()):
            return False
    if policy is None or type(policy) is RandomPolicy:
        return True
    return isinstance(policy, TensorDictModuleBase) and not any(
        (key[0] if isinstance(key, tuple) else key) in {"next", *keys} for key in policy.out_keys
    )


class _TensorDictLoop(Policy):
    """A TorchRL policy and an ImaginedEnv, as unroll takes a policy and dynamics.

    They share the TensorDict that the policy writes its action to, from which the env steps on.
    """

    def __init__(self, env: Any, act: Callable[[TensorDictBase], TensorDictBase]) -> None:
        self._env, self._act = env, act
        self._ends = dict(env.full_done_spec.zero().items())
        self._own = {"observation", "propagation", *self._ends}
        self.tensordict = TensorDict()
        self._beside: dict[str, Any] = {}
        self.others: list[dict[str, Any]] = []

    def act(
        self, step: int, observation: Belief, state: PolicyState
    ) -> tuple[ActionBelief, PolicyState]:
        acted = self._act(self.tensordict)
        if acted is not self.tensordict:
            self.tensordict.update(acted)
        beside = {key: value for key, value in self.tensordict.items() if key not in self._own}
        self._beside = beside
        # A policy writes into the same nested entry again at the next step.
        self.others.append({k: v if isinstance(v, Tensor) else v.copy() for k, v in beside.items()})
        return ActionBelief(self.tensordict.get("action")), state

    def begin(self, observation: Belief, trajectories: Any) -> Any:
        raise NotImplementedError  # the env's reset has begun both

    def points(self, state: State) -> None:
        """None: an env takes one action."""

    def step(
        self, belief: Belief, action: ActionBelief, state: State, noise: Noise
    ) -> tuple[Prediction, State]:
        env = self._env
        prediction, state = env.transition(self.tensordict)
        observation = {"mean": prediction.mean, "var": prediction.var}
        place: dict[str, Any] = {"batch_size": env.batch_size, "device": env.device}
        entries = {**self._ends, **self._beside, "observation": TensorDict(observation, **place)}
        if state:
            entries["propagation"] = TensorDict(dict(state), **place)
        self.tensordict = TensorDict(entries, **place)
        return prediction, state


def _random(env: Any) -> Callable[[TensorDictBase], TensorDictBase]:
    """``env.rand_action`` with its specs looked up once."""
    leaves = [(key, env.full_action_spec[key]) for key in env.action_keys]

    def act(tensordict: TensorDictBase) -> TensorDictBase:
        for key, spec in leaves:
            tensordict.set(key, spec.rand())
        return tensordict

    return act


def unrolled(
    env: Any, max_steps: int, policy: Any, start: TensorDictBase | None, auto_reset: bool
) -> TensorDictBase:
    """``max_steps`` of ``policy`` (None: random), from a reset or ``start``: ``(*B, T)``."""
    tensordict = env.reset(start) if auto_reset else start
    assert tensordict is not None
    shape, device = env.batch_size, env.device
    never = env.full_done_spec.zero()
    first_ends = tensordict.select(*env.done_keys)
    reward_dtype = env.full_reward_spec[env.reward_key].dtype
    loop = _TensorDictLoop(env, _random(env) if policy is None else policy)
    loop.tensordict = tensordict
    observation = tensordict.get("observation")
    beliefs = [Belief(observation.get("mean"), observation.get("var"))]
    carried = tensordict.get("propagation", None)
    states: list[State] = [{} if carried is None else dict(carried.items())]
    rewards: list[Tensor] = []
    noise = env.noise(shape)
    for step in unroll(loop, loop, beliefs[0], (states[0], {}), noise, max_steps):
        beliefs.append(step.belief)
        states.append(step.state)
        if step.prediction.reward_mean is not None:
            rewards.append(step.prediction.reward_mean.unsqueeze(-1).to(reward_dtype))
    others = loop.others

    axis = len(shape)
    whole = torch.Size((*shape, max_steps))

    def side_by_side(rows: Sequence[dict[str, Any]]) -> TensorDict:
        stacked = {key: torch.stack([row[key] for row in rows], axis) for key in rows[0]}
        return TensorDict(stacked, whole, device=device)

    def half(steps: slice) -> TensorDictBase:
        out = never.unsqueeze(axis).expand(whole).clone()
        out.set("observation", side_by_side([one._asdict() for one in beliefs[steps]]))
        if states[0]:
            out.set("propagation", side_by_side(states[steps]))
        return out

    out, following = half(slice(0, -1)), half(slice(1, None))
    for key in env.done_keys:
        out.get(key)[(slice(None),) * axis + (0,)] = first_ends.get(key)
    out.update(side_by_side(others))
    zero = torch.zeros((*whole, 1), dtype=reward_dtype, device=beliefs[0].mean.device)
    reward = torch.stack(rewards, axis) if rewards else zero
    out.set("next", following.set(env.reward_key, reward))
    out.refine_names(..., "time")
    return out
