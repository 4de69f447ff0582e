"""A rollout as NetCDF 4, for xarray: its axes named, NaN after a trajectory's end."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from imagine_cli.errors import require
from imagine_cli.export.episodes import held, marks
from imagine_cli.printable import printable
from imagine_cli.recording import Rollout


def write(rollout: Rollout, file: BinaryIO) -> None:
    """``observation``, ``observation_sd``, ``action`` and ``reward`` by trajectory and step."""
    require("xarray", "xarray", "h5netcdf")
    import xarray

    whole, steps = held(rollout), rollout.steps + 1
    belief, action = (
        ("trajectory", "step", "observation_name"),
        ("trajectory", "step", "action_name"),
    )

    def padded(parts: list[np.ndarray]) -> np.ndarray:
        found = np.full((len(parts), steps, *parts[0].shape[1:]), np.nan)
        for k, part in enumerate(parts):
            found[k, : len(part)] = part
        return found

    variables: dict[str, Any] = {
        "observation": (belief, padded([e.mean for e in whole])),
        "observation_sd": (belief, padded([e.sd for e in whole])),
        "action": (action, padded([e.action for e in whole])),
    }
    rewards = [e.reward for e in whole if e.reward is not None]
    if rewards:
        variables["reward"] = (belief[:2], padded(rewards))
    names = {
        "trajectory": np.arange(len(whole)),
        "step": np.arange(steps),
        "observation_name": [printable(name) for name in rollout.observation_names],
        "action_name": [printable(name) for name in rollout.action_names],
    }
    made = xarray.Dataset(variables, names, {k: printable(v) for k, v in marks(rollout).items()})
    file.write(made.to_netcdf(engine="h5netcdf"))
