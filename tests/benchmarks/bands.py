"""Does a band hold what it claims, some steps ahead? Each kind of model on each env.

Fits each kind to 20,000 steps of the random policy (or takes the model that an earlier call left
in --folder), runs the env again and imagines the same actions from the same states by the kind's
default propagation, with the error that persists and without it. Prints a Markdown table: how many
per cent of the real observations the 50 % and the 95 % interval hold at each horizon, mean over
the dimensions, and the NLL in nats a dimension.

    python tests/benchmarks/bands.py --folder /tmp/bands Pendulum-v1 InvertedPendulum-v5
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import imagine_cli
from imagine_cli.registry import FITS

HORIZONS = (1, 5, 10, 25)
KINDS = ("gp", "sparse-gp", "linear", "ensemble")
# Real runs, and the most points of a GP where D is large.
ENVS: dict[str, dict[str, int]] = {
    "Pendulum-v1": {"trajectories": 300},
    "InvertedPendulum-v5": {"trajectories": 1000},
    "CartPole-v1": {"trajectories": 300},
    "MountainCarContinuous-v0": {"trajectories": 300},
    "Acrobot-v1": {"trajectories": 200},
    "Reacher-v5": {"trajectories": 200},
    "Hopper-v5": {"trajectories": 200},
    "HalfCheetah-v5": {"trajectories": 100, "points": 200},
}


def fitted(env: str, kind: str, folder: Path, points: int | None) -> Path:
    path = folder / f"{env}-{kind}.pt"
    if not path.exists():
        options = {"points": points} if points and "points" in FITS.load(kind).OPTIONS else {}
        found = imagine_cli.fit_world_model(env, kind=kind, **options)
        imagine_cli.save_world_model(found.model, path, env=found.env, metadata=found.metadata)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("envs", nargs="*", default=list(ENVS))
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    at = " / ".join(map(str, HORIZONS))
    print(f"| env | kind | persists | in 50 % at {at} | in 95 % at {at} | NLL at {at} |")
    print("|---|---|---|---|---|---|")
    held = counted = 0
    for env in given.envs:
        for kind in given.kinds:
            begun = time.perf_counter()
            path = fitted(env, kind, given.folder, ENVS.get(env, {}).get("points"))
            model = imagine_cli.load_world_model(path)
            model.compile()
            error = model.model_error
            for persisting in (None, error) if error is not None else (None,):
                model.model_error = persisting
                found = imagine_cli.evaluate_model(
                    model, env, steps=HORIZONS[-1], seed=1,
                    trajectories=ENVS.get(env, {}).get("trajectories", 200),
                )  # fmt: skip
                print(row(env, kind, persisting, found), flush=True)
            inside, all_ = judged(found)
            held, counted = held + inside, counted + all_
            seconds = time.perf_counter() - begun
            print(f"{env} {kind}: {seconds:.0f} s", file=sys.stderr, flush=True)
    print(f"\n{held} of {counted} cells where the model beats no change: 45 to 55 and 93 to 97 %.")


def row(env: str, kind: str, error: Any, found: Any) -> str:
    scores = found.models[0].scores
    said = "no" if error is None else (
        f"{float(error.share.min()):.2f} to {float(error.share.max()):.2f}, "
        f"{float(error.persistence):.2f}"
    )  # fmt: skip
    columns = [
        " / ".join(
            form(
                scores.joint[name][h - 1] if name != "nll" else scores.marginal[name][h - 1].mean()
            )
            if h <= len(scores.count) and scores.count[h - 1] >= 20
            else "-"
            for h in HORIZONS
        )
        for name, form in (
            ("coverage50", percent),
            ("coverage95", percent),
            ("nll", "{:.2f}".format),
        )
    ]
    return f"| {env} | {kind} | {said} | " + " | ".join(columns) + " |"


def percent(value: float) -> str:
    return f"{100 * value:.0f}"


def judged(found: Any) -> tuple[int, int]:
    """Cells that hold what they claim, and those where the model beats "no change"."""
    scores, still = found.models[0].scores, found.baselines["no change"]
    held = counted = 0
    for h in HORIZONS:
        if h > len(scores.count) or scores.count[h - 1] < 20:
            continue
        ours, theirs = (some.marginal["crps"][h - 1].mean() for some in (scores, still))
        if not ours < theirs:
            continue
        counted += 1
        half, most = (scores.joint[f"coverage{level}"][h - 1] for level in (50, 95))
        held += bool(0.445 <= half < 0.555 and 0.925 <= most < 0.975)
    return held, counted


if __name__ == "__main__":
    main()
