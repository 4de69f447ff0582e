"""Every kind of world model and every propagation that fits it, against real rollouts.

Fits each kind to a run of each env (or takes the model that an earlier call left in --folder),
runs the env again, imagines the same starts and actions with each propagation and prints Markdown
tables of what ``imagine evaluate`` would score, at three horizons.

    python tests/benchmarks/compare_propagations.py --folder /tmp/compared
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import imagine_cli
from imagine_cli.environments import describe, make_env
from imagine_cli.evaluation.candidates import Candidate
from imagine_cli.evaluation.imagining import imagine_run
from imagine_cli.evaluation.real import RealRun, evaluation_seed, run_real
from imagine_cli.files.digest import sha256_of
from imagine_cli.policies import make_policy
from imagine_cli.progress import Silent
from imagine_cli.propagation import Propagation, make_propagation
from imagine_cli.registry import FITS, PROPAGATIONS
from imagine_cli.request import RolloutRequest
from imagine_cli.rollout.engine import Engine, make_engine
from imagine_cli.rollout.prepare import LoadedModel
from imagine_cli.scores import Scores

HORIZONS = (1, 10, 50)

# Moment matching takes time as the squares of D and of the points: HalfCheetah, of D = 17, gets
# fewer points and trajectories. The random policy lets InvertedPendulum fall within a few steps.
ENVS: dict[str, dict[str, int]] = {
    "Pendulum-v1": {"trajectories": 50, "points": 300},
    "InvertedPendulum-v5": {"trajectories": 300, "points": 300},
    "HalfCheetah-v5": {"trajectories": 20, "points": 200},
}
NAMES = {
    "members=random": "particles, --members random",
    "members=fixed": "particles, --members fixed",
    "resample": "particles, --resample",
}
PAPER = {
    "particles, --members random": " (TS1)",
    "particles, --members fixed": " (TS∞)",
    "particles, --resample": " (distribution sampling)",
}


@dataclass(frozen=True)
class Row:
    kind: str
    propagation: str
    scores: dict[int, tuple[float, float, float]]
    seconds: float


def options_of(kind: str, usual: int, asked: int | None) -> dict[str, int]:
    """What a kind is fitted with, of what it takes: no more points than is its default, unless
    asked for."""
    known = FITS.load(kind).OPTIONS
    options = {}
    if "points" in known:
        options["points"] = asked or min(usual, known["points"].default)
    if "restarts" in known:
        options["restarts"] = 1
    return options


def fitted(
    env_id: str, kind: str, steps: int, options: dict[str, int], folder: Path
) -> LoadedModel:
    """The model, from the folder or fitted and left there."""
    arguments = {"env_id": env_id, "kind": kind, "steps": steps, **options}
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
    path = folder / f"{env_id}-{kind}-{digest[:8]}.pt"
    if not path.exists():
        begun = time.perf_counter()
        found = imagine_cli.fit_world_model(env_id, kind=kind, steps=steps, **options)
        imagine_cli.save_world_model(found.model, path, env=found.env, metadata=found.metadata)
        say(f"{env_id} {kind}: fitted in {time.perf_counter() - begun:.0f} s")
    return LoadedModel(imagine_cli.load_world_model(path), str(path), sha256_of(path))


def ways(model: Any, particles: int) -> Iterator[Propagation]:
    """Each propagation that fits, in each form that fits, once."""
    forms: list[tuple[str, dict[str, Any]]] = []
    for name in PROPAGATIONS:
        if name != "particles":
            forms.append((name, {}))
            continue
        each = ({"members": "random"}, {"members": "fixed"}, {}, {"resample": True})
        forms += [(name, {"particles": particles, **form}) for form in each]
    seen = set()
    for name, form in forms:
        try:
            found = make_propagation(name, model, **form)
        except imagine_cli.InputError:
            continue
        if found.description not in seen:
            seen.add(found.description)
            yield found


def label(propagation: Propagation) -> str:
    known = [name for part, name in NAMES.items() if part in propagation.description]
    name = known[-1] if known else propagation.name
    return name + PAPER.get(name, "")


def imagined(
    model: LoadedModel, env: Any, run: RealRun, propagation: Propagation, engine: Engine
) -> Scores:
    """The scores of one propagation over a whole real run. Raises ImagineError."""
    about = describe(env)
    request = RolloutRequest(env=about.id, steps=run.steps, trajectories=run.trajectories)
    candidate = Candidate("", model, propagation)
    return imagine_run(candidate, request, env, about, run, None, Silent(), engine)[0]


def measured(
    kind: str, model: LoadedModel, env: Any, run: RealRun, propagation: Propagation, engine: Engine
) -> Row:
    """As far as beliefs are finite: of the horizons beyond that there are no scores."""
    scale = np.nanstd(run.observations.reshape(-1, run.observations.shape[-1]), axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    reached = [h for h in HORIZONS if h <= run.steps and (run.lengths >= h).any()]
    begun = time.perf_counter()
    found: dict[int, tuple[float, float, float]] = {}
    for last in reversed(reached):
        try:
            some = run.first(run.trajectories, last)
            scores = imagined(model, env, some, propagation, engine)
        except imagine_cli.ImagineError:
            continue
        for h in reached:
            if h <= last:
                rmse, nll, covered = (
                    scores.marginal[name][h - 1] for name in ("rmse", "nll", "coverage95")
                )
                found[h] = float((rmse / scale).mean()), float(nll.mean()), float(covered.mean())
        break
    return Row(kind, label(propagation), found, time.perf_counter() - begun)


def number(value: float) -> str:
    if np.isfinite(value) and (value == 0 or 1e-3 <= abs(value) < 1e4):
        return f"{value:.3g}"
    return f"{value:.1e}" if np.isfinite(value) else str(value)


def table(env_id: str, run: RealRun, rows: list[Row]) -> str:
    alive = ", ".join(f"{int((run.lengths >= h).sum())} at {h}" for h in HORIZONS)
    horizons = " / ".join(map(str, HORIZONS))
    lines = [
        f"**{env_id}** (D = {run.observations.shape[-1]}; real trajectories: {alive})",
        "",
        f"| kind | propagation | RMSE at {horizons} | NLL at {horizons} "
        f"| in 95 % at {horizons} | s |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row.kind, row.propagation]
        for k, form in enumerate((number, number, lambda value: f"{100 * value:.0f}")):
            parts = [form(row.scores[h][k]) if h in row.scores else "-" for h in HORIZONS]
            cells.append(" / ".join(parts))
        lines.append("| " + " | ".join([*cells, f"{row.seconds:.1f}"]) + " |")
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where fitted models are kept")
    parser.add_argument("--envs", nargs="+", default=list(ENVS))
    parser.add_argument("--kinds", nargs="+", default=list(FITS))
    parser.add_argument("--steps", type=int, default=max(HORIZONS), help="of a real trajectory")
    parser.add_argument("--trajectories", type=int, help="50, 300 and 20 of the three envs")
    parser.add_argument("--particles", type=int, default=100)
    parser.add_argument("--fit-steps", type=int, default=20000)
    parser.add_argument(
        "--points", type=int, help="of GPs: 300, 200 of HalfCheetah-v5, but at most their default"
    )
    parser.add_argument("--engine", default="local", help="who imagines")
    parser.add_argument("--workers", type=int)
    asked = parser.parse_args()
    engine = make_engine(asked.engine, workers=asked.workers)
    asked.folder.mkdir(parents=True, exist_ok=True)
    print(
        f"Fitted to {asked.fit_steps} steps of the random policy; {asked.particles} particles. "
        "RMSE in standard deviations of the real run's dimension, NLL in nats, each the mean over "
        "the dimensions; - where no real trajectory, or no finite belief, gets there.\n"
    )
    for env_id in asked.envs:
        usual = ENVS.get(env_id, ENVS["HalfCheetah-v5"])
        env = make_env(env_id)
        about = describe(env)
        policy = make_policy("random", about, seed=evaluation_seed(0))
        run = run_real(
            env, about, policy, steps=asked.steps,
            trajectories=asked.trajectories or usual["trajectories"], seed=evaluation_seed(0),
        )  # fmt: skip
        rows = []
        for kind in asked.kinds:
            options = options_of(kind, usual["points"], asked.points)
            model = fitted(env_id, kind, asked.fit_steps, options, asked.folder)
            for propagation in ways(model.module, asked.particles):
                rows.append(measured(kind, model, env, run, propagation, engine))
                say(f"{env_id} {kind} {rows[-1].propagation}: {rows[-1].seconds:.1f} s")
        print(table(env_id, run, rows), end="\n\n", flush=True)
        env.close()


if __name__ == "__main__":
    main()
