"""A batch of Gymnasium envs as Stable-Baselines3 takes one, so that it trains in all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from imagine_cli.errors import InputError, require

require("sb3", "stable_baselines3")

from stable_baselines3.common.vec_env import VecEnv  # noqa: E402 (what to install comes first)


class StableBaselinesEnv(VecEnv):  # type: ignore[misc]
    """``PPO("MlpPolicy", StableBaselinesEnv(envs))``.

    Args:
        envs: ``gymnasium.make_vec(..., autoreset_mode="SameStep")``, any that resets like that.

    Raises:
        InputError: envs that are reset otherwise.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        if envs.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
            raise InputError(
                "Stable-Baselines3 needs envs that are reset at the step of their end; make them "
                'with autoreset_mode="SameStep"'
            )
        self._envs = envs
        self.render_mode = envs.render_mode
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> np.ndarray:
        """Begin an episode in each env: ``(N, D)``."""
        given = all(seed is not None for seed in self._seeds)
        observations, _ = self._envs.reset(seed=list(self._seeds) if given else None)
        self._reset_seeds()
        self._reset_options()
        return np.array(observations)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        observations, rewards, terminated, truncated, info = self._envs.step(self._actions)
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in dones]
        for k in np.flatnonzero(dones):
            infos[k]["terminal_observation"] = info["final_obs"][k]
            infos[k]["TimeLimit.truncated"] = bool(truncated[k] and not terminated[k])
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        self._envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The batch's own, once for each env."""
        return [getattr(self._envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self._envs, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        raise NotImplementedError("envs in one batch have no methods of their own")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]
