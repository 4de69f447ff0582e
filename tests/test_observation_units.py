"""Units against the tables of Gymnasium's own documentation."""

from __future__ import annotations

import importlib
import re

import gymnasium
import pytest

from imagine_cli.observation_names import labelled, observation_names, observation_units

MUJOCO = ["InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Hopper-v5", "HalfCheetah-v5"]


@pytest.mark.parametrize("env_id", MUJOCO)
def test_units_are_those_of_the_observation_table(env_id: str) -> None:
    module, _, name = str(gymnasium.spec(env_id).entry_point).partition(":")
    text = getattr(importlib.import_module(module), name).__doc__
    table = text[text.index("## Observation Space") : text.index("## Rewards")]
    rows = re.findall(r"^\s*\|\s*(\d+)\s*\|(.*)\|\s*$", table, re.M)
    said = [re.search(r"\((m|rad|m/s|rad/s|N)\)\s*$", row.strip()) for _, row in rows]
    found = [match[1] if match else "" for match in said]
    assert any(found)
    assert observation_units(env_id, len(found)) == found
    assert observation_names(env_id, len(found))[0] != "x0"


def test_pendulums_and_unknown_envs() -> None:
    names = observation_names("Pendulum-v1", 3)
    assert labelled(names, "Pendulum-v1") == ["cos(theta)", "sin(theta)", "theta_dot [rad/s]"]
    assert labelled(["a", "b", "c"], "Pendulum-v1") == ["a", "b", "c"]
    assert observation_units("CartPole-v1", 4) == ["m", "m/s", "rad", "rad/s"]
    assert observation_units("CartPole-v1", 5) == [""] * 5
    assert observation_units("Nothing-v0", 2) == ["", ""]
