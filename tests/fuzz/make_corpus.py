"""Makes tests/fuzz/corpus: small good files, and ones that reach for what they mustn't.

Run from the repository's root: ``python tests/fuzz/make_corpus.py``. The files that name another
file name ``CANARY``, which the fuzzer replaces by the path of a file that nobody may open.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet
import torch
from tensordict import TensorDict

sys.path.insert(0, str(Path(__file__).parents[2]))

from imagine_cli import evaluate_model, run_rollout, save_world_model
from imagine_cli.cli.inspect_document import as_json
from imagine_cli.environments import describe, make_env
from imagine_cli.policies import LinearPolicy, save_policy
from imagine_cli.recording.manifest import MANIFEST
from imagine_cli.world_models import ExportedWorldModel
from tests.fuzz.checksums import sealed_ranges
from tests.helpers.ensembles import random_ensemble
from tests.helpers.latent_worlds import latent_model
from tests.helpers.linear_systems import linear_model
from tests.helpers.rollout_files import numbers, write, write_plainly
from tests.helpers.worlds import small_gp

CORPUS = Path(__file__).parent / "corpus"
MBRL_LIB = Path(__file__).parents[1] / "checkpoint/mbrl_lib/ensemble"
CANARY = "/tmp/imagine-fuzz-canary-000000"


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    rollouts(CORPUS)
    outward(CORPUS)
    checkpoints(CORPUS)
    foreign(CORPUS)
    data(CORPUS)
    transitions(CORPUS)
    sealed = {
        path.name: sealed_ranges(path.read_bytes())
        for path in sorted(CORPUS.iterdir())
        if path.suffix in (".h5", ".hdf5", ".shard")
    }
    (CORPUS / "sealed.json").write_text(json.dumps(sealed, indent=None) + "\n")


def rollouts(folder: Path) -> None:
    """By our writer, and by others: the oldest layout of HDF5, and the newest."""
    write(folder / "ours.h5", numbers(1, 3, 3, 1), overwrite=True)
    arrays = numbers(2, 3, 3, 1, p=2)
    write_plainly(folder / "plain.h5", arrays, env_id="Pendulum-v1", seed=3, complete=True)
    with h5py.File(folder / "chunked.h5", "w", libver="earliest") as file:
        file.attrs["format"] = "imagine-rollout"
        file["observation/observation"] = np.array([b"x", b"y", b"z"])
        for name, values in arrays.items():
            file.create_dataset(name, data=values, chunks=True, compression="gzip", shuffle=True)
        file["observation"].attrs["low"] = [-1.0, -2.0, -3.0]


def outward(folder: Path) -> None:
    """Rollouts whose numbers, or groups, are said to lie in the canary."""
    arrays = numbers(1, 3, 3, 1)
    for kind in ("link", "soft", "external", "virtual"):
        path = folder / f"outward-{kind}.h5"
        write_plainly(path, arrays)
        with h5py.File(path, "a") as file:
            mean = file["observation/mean"]
            shape, dtype, size = mean.shape, mean.dtype, mean.nbytes
            del file["observation/mean"]
            if kind == "link":
                file["observation/mean"] = h5py.ExternalLink(CANARY, "observation/mean")
            elif kind == "soft":
                file["observation/mean"] = h5py.SoftLink("/observation/mean")
            elif kind == "external":
                file["observation"].create_dataset(
                    "mean", shape, dtype, external=[(CANARY, 0, size)]
                )
            else:
                layout = h5py.VirtualLayout(shape, dtype)
                layout[:] = h5py.VirtualSource(CANARY, "observation/mean", shape)
                file["observation"].create_virtual_dataset("mean", layout)


def checkpoints(folder: Path) -> None:
    """Each kind of world model, a policy, and torchrl's own state of a Gaussian process."""
    env = describe(make_env("Pendulum-v1"))
    metadata: dict[str, Any] = {
        "command": "imagine fit",
        "held_out_scores": {
            "observation_names": ["a", "b", "c"],
            "rmse": [0.1, 0.2, 0.3],
            "coverage_95": [0.9, 0.95, 1.0],
            "overall": {"rmse": 0.2, "coverage_95": 0.95},
        },
        "versions": {"torch": "2"},
    }
    models = {
        "gp": small_gp(3, 1, n=5),
        "linear": linear_model(3, 1),
        "ensemble": random_ensemble(3, 1, 2, hidden=(4,)),
        "latent": latent_model(),
    }
    for name, model in models.items():
        path = folder / f"{name}.pt"
        save_world_model(model, path, env=env, metadata=metadata, overwrite=True)
    save_world_model(exported(), folder / "exported.pt", env=env, overwrite=True)
    weight = torch.arange(3, dtype=torch.float64).reshape(1, 3)
    save_policy(LinearPolicy(weight, weight[0, :1]), folder / "policy.pt", env=env, overwrite=True)
    gp = models["gp"]
    state = {
        "X_tilde_train": gp.inputs,
        "ell": gp.lengthscales,
        "alpha_sq": gp.signal_variances,
        "sigma_sq_eps": gp.noise_variances,
        "_cached_inv_K_noisy": torch.eye(5).expand(3, 5, 5).contiguous(),
        "_cached_beta": gp.targets.mT.contiguous(),
    }
    torch.save(OrderedDict(state), folder / "torchrl.pt")


def foreign(folder: Path) -> None:
    """A run of mbrl-lib, and a dataset of Minari's."""
    for name in ("model.pth", "env_stats.pickle", ".hydra/config.yaml"):
        content = (MBRL_LIB / name).read_bytes()
        (folder / f"mbrl-lib{Path(name).suffix}").write_bytes(content)
    with tempfile.TemporaryDirectory() as place:
        os.environ["MINARI_DATASETS_PATH"] = place
        import minari
        from minari.data_collector import EpisodeBuffer

        env = make_env("Pendulum-v1")
        episode = {
            "rewards": [0.0, -1.0],
            "terminations": [False] * 2,
            "truncations": [False, True],
        }
        arrays = {"observations": np.eye(3, dtype=np.float32), "actions": np.ones((2, 1))}
        episodes = [EpisodeBuffer(id=k, seed=k, **arrays, **episode) for k in range(2)]
        minari.create_dataset_from_buffers("pendulum/still-v0", episodes, env=env, eval_env=env)
        there = Path(place) / "pendulum/still-v0/data"
        for name in ("main_data.hdf5", "metadata.json"):
            ending = Path(name).suffix.replace(".json", ".metadata")
            (folder / f"minari{ending}").write_bytes((there / name).read_bytes())


def data(folder: Path) -> None:
    """An unfinished rollout, an evaluation, arrays and a table."""
    with tempfile.TemporaryDirectory() as place:
        model, output = Path(place) / "linear.pt", Path(place) / "a.h5"
        save_world_model(linear_model(3, 1), model, env=describe(make_env("Pendulum-v1")))
        few: dict[str, Any] = {
            "steps": 3,
            "trajectories": 2,
            "propagation": "particles",
            "particles": 2,
        }
        run_rollout("Pendulum-v1", model, output=output, part=(1, 1), **few)
        partial = Path(f"{output}.partial")
        (folder / "half.shard").write_bytes(next(partial.glob("shard-*.h5")).read_bytes())
        (folder / "half.manifest").write_bytes((partial / MANIFEST).read_bytes())
        found = evaluate_model(model, steps=3, trajectories=8)
        (folder / "evaluation.json").write_text(as_json(found.as_dict()))
    arrays = {"observations": np.eye(3), "actions": np.ones((3, 1)), "rewards": np.zeros(3)}
    np.savez(folder / "arrays.npz", next_observations=np.eye(3), episode=[0, 0, 1], **arrays)
    (folder / "table.csv").write_text("x,y,z\n1,0,0.5\n-1,1e-3,2\n")


def transitions(folder: Path) -> None:
    """Recorded steps as a table, a Parquet and an Arrow file, and a memory-mapped TensorDict."""
    columns = {"observations": np.eye(3), "actions": np.ones((3, 1)), "rewards": np.zeros(3)}
    columns["terminals"] = np.array([False, False, True])
    table = pyarrow.table({name: each.tolist() for name, each in columns.items()})
    pyarrow.parquet.write_table(table, folder / "steps.parquet")
    with pyarrow.ipc.new_file(str(folder / "steps.arrow"), table.schema) as file:
        file.write_table(table)
    (folder / "steps.stored").write_text('{"data_format": "arrow"}')
    (folder / "steps.csv").write_text("x,y,z,u,episode\n1,0,0.5,1,0\n-1,1e-3,2,1,0\n")
    whole = {name: torch.ones(3, 3) for name in ("observation", "action", "next_obs")}
    with tempfile.TemporaryDirectory() as place:
        TensorDict(whole, batch_size=[3]).memmap(place)
        (folder / "steps.tensors").write_bytes((Path(place) / "meta.json").read_bytes())
        (folder / "steps.memmap").write_bytes((Path(place) / "action.memmap").read_bytes())


def exported() -> ExportedWorldModel:
    """A small program: layers, a constant, and a variance."""
    x, u, h = {"value": "observation"}, {"value": "action"}, {"value": "h"}
    steps: list[Any] = [
        ["aten.cat.default", [[x, u], -1], {}, "xu"],
        ["aten.linear.default", [{"value": "xu"}, {"value": "tensor_0"}], {}, "h"],
        ["aten.tanh.default", [h], {}, "change"],
        ["aten.add.Tensor", [x, {"value": "change"}], {"alpha": 0.5}, "mean"],
        ["aten.softplus.default", [h], {}, "var"],
    ]
    config: dict[str, Any] = {
        "observation_size": 3, "action_size": 1, "dtype": "float64", "computes_in": "float64",
        "in_keys": ["observation", "action"],
        "out_keys": [["next", "observation", "mean"], ["next", "observation", "var"]],
        "difference": False, "process_noise": [],
        "program": {"steps": steps, "outputs": ["mean", "var"]},
    }  # fmt: skip
    weight = torch.arange(12, dtype=torch.float64).reshape(3, 4) / 12
    return ExportedWorldModel.from_config(config, {"tensor_0": weight})


if __name__ == "__main__":
    main()
