"""Episodes that are sampled from a world model, as Gymnasium envs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from imagine_cli.belief import ActionBelief, point
from imagine_cli.environments import describe, env_errors, make_env
from imagine_cli.errors import ImagineError, InputError
from imagine_cli.propagation.noise import RowNoise
from imagine_cli.propagation.sampled import Sampled
from imagine_cli.request import RolloutRequest
from imagine_cli.rollout.prepare import load_model, make_dynamics, with_env
from imagine_cli.seeds import Stream, seed_sequence


class SampledVectorEnv(gymnasium.vector.VectorEnv):  # type: ignore[misc]
    """Many episodes of a world model in one batch: ``make_vec("imagine_cli:Imagined-v0", ...)``.

    Each is one trajectory of the propagation ``sampled``: it follows one member of an ensemble, or
    one function drawn from a Gaussian process, from reset to reset. Observations are what the
    model sampled, within the bounds of the real env's observation space; actions are taken within
    those of its action space, and the reward is that of ``reward``, whose rule terminates. The real
    env lends its spaces, its resets and its limit of steps, and is never stepped.

    An episode is reset at the step after its last one, whose action does nothing (``NEXT_STEP``,
    Gymnasium's default), or at its last one (``SAME_STEP``): ``info["final_obs"][k]`` is then where
    row k of the mask ``info["_final_obs"]`` got to. Row k of a batch that is seeded with s is, to
    the bit, the :class:`SampledEnv` that is seeded with s + k, and begins where the real env does
    with that seed.

    Args:
        num_envs: how many, 1 or more.
        model: a checkpoint's path, or a world model.
        env: id of the real env; None for the one that the checkpoint says.
        env_kwargs: arguments for it; ``max_episode_steps`` is one.
        reward: as :func:`imagine_cli.rewards.make_reward` takes it; None for the model's own.
        members: ``"fixed"`` as above, or ``"random"``: another member at each step.
        max_episode_steps: in place of the real env's limit.
        autoreset_mode: see above; ``metadata`` says it.
        device: where the model computes.
        trust_pickle: load a pickled model, running whatever code it names.

    Raises:
        InputError: something of these can't be used.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        *,
        model: str | Path | torch.nn.Module,
        env: str | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        reward: str | None = None,
        members: str = "fixed",
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        device: str = "cpu",
        trust_pickle: bool = False,
    ) -> None:
        if num_envs < 1:
            raise InputError(f"num_envs is {num_envs}; it must be 1 or more")
        mode = AutoresetMode(autoreset_mode)
        if mode == AutoresetMode.DISABLED:
            raise InputError("autoreset_mode is Disabled; it must be NextStep or SameStep")
        self.metadata = {**self.metadata, "autoreset_mode": mode}
        self._same_step = mode == AutoresetMode.SAME_STEP
        request = RolloutRequest(
            env or "", env_kwargs=dict(env_kwargs or {}), reward=reward, device=device
        )
        request = with_env(request, model)
        self._real = make_env(request.env, dict(request.env_kwargs))
        self._about = describe(self._real, dict(request.env_kwargs), request.env)
        loaded = load_model(model, self._about, request, trust_pickle=trust_pickle)
        self._dynamics = make_dynamics(loaded.module, self._about, request, Sampled(members))
        self._device = torch.device(device)
        if not self._dynamics.has_reward:
            raise InputError(
                "the world model has learned no reward; give one, such as reward='env'"
            )
        limit = self._real.spec.max_episode_steps if self._real.spec else None
        self._limit = max_episode_steps or limit or math.inf
        self.num_envs = num_envs
        self.single_observation_space = self._real.observation_space
        self.single_action_space = self._real.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._np_random_seed = -1  # Gymnasium's sign for one that is not known
        self._streams = [_stream(np.random.SeedSequence().entropy) for _ in range(num_envs)]
        self._state: dict[str, torch.Tensor] = {}
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._over = np.zeros(num_envs, dtype=bool)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in each row: ``(N, D)``.

        Row k gets the seed ``seed + k``, or its own of a sequence; with None it draws on.
        """
        seeds: list[int | None]
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, Sequence):
            seeds = list(seed)
        else:
            seeds = [seed + k for k in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise InputError(f"there are {len(seeds)} seeds for {self.num_envs} envs")
        for k, given in enumerate(seeds):
            if given is not None:
                self._streams[k] = _stream(given)
        self._np_random = self._streams[0]
        self._np_random_seed = self._np_random_seed if seeds[0] is None else seeds[0]
        self._over[:] = False
        self._begin(np.arange(self.num_envs), seeds)
        return self._observations(), {}

    @torch.no_grad()
    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of each row: observations ``(N, D)``, then rewards and two flags ``(N,)``."""
        over = self._over
        rows, ended = np.flatnonzero(~over), np.flatnonzero(over)
        rewards = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, dtype=bool)
        if len(rows):
            rewards[rows], terminated[rows] = self._advance(rows, actions)
        if len(ended):
            self._begin(ended, [None] * len(ended))
        truncated = ~over & (self._steps >= self._limit)
        self._over = terminated | truncated
        info: dict[str, Any] = {}
        if self._same_step and self._over.any():
            info = {"final_obs": self._observations(), "_final_obs": self._over}
            ended = np.flatnonzero(self._over)
            self._begin(ended, [None] * len(ended))
            self._over = np.zeros_like(self._over)
        return self._observations(), rewards, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        self._real.close()

    def _begin(self, rows: np.ndarray, seeds: Sequence[int | None]) -> None:
        """New episodes in rows, at resets of the real env with these seeds, or drawn ones."""
        starts = []
        with env_errors(self._real):
            for k, seed in zip(rows, seeds, strict=True):
                drawn = int(self._streams[k].integers(2**31)) if seed is None else seed
                starts.append(self._real.reset(seed=drawn)[0])
        belief = point(self._tensor(np.stack(starts)))
        state = self._dynamics.begin(belief, self._noise(rows))
        self._put(rows, state)
        self._steps[rows] = 0

    def _advance(self, rows: np.ndarray, actions: Any) -> tuple[np.ndarray, np.ndarray]:
        """One step of some rows: their rewards, and where they terminate."""
        codes = self._about.encode_action(actions, (self.num_envs,))[rows]
        action = self._tensor(np.clip(codes, self._about.action_low, self._about.action_high))
        state = {name: part[rows] for name, part in self._state.items()}
        x = state["sample"]
        prediction, state = self._dynamics.step(
            point(x), ActionBelief(action), state, self._noise(rows)
        )
        reward, rule = prediction.reward_mean, self._dynamics.reward
        assert reward is not None
        if not (prediction.mean.isfinite().all() and reward.isfinite().all()):
            raise ImagineError(
                f"the world model of {self._about.id} sampled an observation or a reward that is "
                f"not finite, {int(self._steps[rows].max())} steps after a reset at the most"
            )
        self._put(rows, state)
        self._steps[rows] += 1
        if rule is None:
            return reward.cpu().numpy(), np.zeros(len(rows), dtype=bool)
        return reward.cpu().numpy(), rule.ended(x, action, prediction.mean).cpu().numpy()

    def _put(self, rows: np.ndarray, state: dict[str, torch.Tensor]) -> None:
        if len(rows) < self.num_envs:
            at = (torch.as_tensor(rows, device=self._device),)
            state = {name: self._state[name].index_put(at, part) for name, part in state.items()}
        self._state = state

    def _observations(self) -> np.ndarray:
        space = self.single_observation_space
        sample = self._state["sample"].cpu().numpy().astype(space.dtype)
        clipped: np.ndarray = np.clip(sample, space.low, space.high)
        return clipped

    def _noise(self, rows: np.ndarray) -> RowNoise:
        streams = [self._streams[k] for k in rows]
        return RowNoise(streams, self._dynamics.dtype, self._device)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, dtype=self._dynamics.dtype, device=self._device)


class SampledEnv(gymnasium.Env):  # type: ignore[misc]
    """One episode at a time: ``make("imagine_cli:Imagined-v0", ...)``.

    Arguments are those of :class:`SampledVectorEnv`, of which it is a batch of one.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, *, model: str | Path | torch.nn.Module, **options: Any) -> None:
        self._envs = SampledVectorEnv(1, model=model, **options)
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode: ``(D,)``."""
        observations, info = self._envs.reset(seed=seed, options=options)
        self._np_random = self._envs.np_random
        self._np_random_seed = self._envs.np_random_seed
        return observations[0], info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step of it."""
        observations, reward, terminated, truncated, info = self._envs.step([action])
        return observations[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def close(self) -> None:
        self._envs.close()


def _stream(seed: Any) -> np.random.Generator:
    """What the episodes of a row draw, one after the other."""
    if seed < 0:
        raise InputError(f"the seed is {seed}; it must be 0 or more")
    return np.random.default_rng(seed_sequence(int(seed), Stream.GYMNASIUM_ENV))
