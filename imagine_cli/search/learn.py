"""``imagine learn`` as one call: the loop between the real env, a model of it and a policy.

Deisenroth & Rasmussen 2011, Algorithm 1: act, fit, improve the policy in imagination, act again.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from imagine_cli.environments import EnvDescription, opened_env
from imagine_cli.errors import InputError
from imagine_cli.evaluation.real import RealRun, run_real, write_real
from imagine_cli.files.json_file import read_json
from imagine_cli.files.whole_file import whole_file
from imagine_cli.fitting.kinds import Kind, settle
from imagine_cli.progress import Progress, Silent
from imagine_cli.registry import FITS, METHODS
from imagine_cli.request import RolloutRequest
from imagine_cli.search.log import check_log, log_round
from imagine_cli.search.methods import Method
from imagine_cli.seeds import Stream, derived_seed

_SCORED = 10  # the fewest real steps that a fit is scored on
_LIMIT = 1000  # steps of an episode where the env says nothing of them


@dataclass(frozen=True)
class LearnRequest:
    """What decides every number of a run.

    Attributes:
        env, env_kwargs: the real env.
        method: ``pilco``, ``mc-pilco`` or ``pets``.
        reward: what is maximised, as :func:`imagine_cli.rewards.make_reward` takes it.
        policy: in place of the method's.
        rounds: the most of them, beside the one of random data.
        random_steps: real steps of the random policy that it begins with.
        trial_steps: the most real steps of a round's trial; None is the env's own limit.
        horizon: steps imagined while a policy is searched for.
        iterations: of the search.
        start: the initial beliefs of the search.
        until: ``return >= 900``: enough, judged by a round's trial.
        fit: options of the world model's fit, in place of the method's.
        seed: 0 or more.
    """

    env: str
    env_kwargs: Mapping[str, Any]
    method: str = "pilco"
    reward: str = "env"
    policy: str | None = None
    rounds: int = 10
    random_steps: int = 200
    trial_steps: int | None = None
    horizon: int = 40
    iterations: int = 100
    start: str = "belief"
    until: str | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        METHODS.check(self.method)
        self.fit_options()
        parse_until(self.until)
        for name, least in (("rounds", 1), ("random_steps", 50), ("horizon", 1),
                            ("iterations", 1), ("seed", 0)):  # fmt: skip
            if getattr(self, name) < least:
                option = name.replace("_", "-")
                raise InputError(f"--{option} is {getattr(self, name)}; it must be {least} or more")

    def fit_options(self) -> dict[str, Any]:
        """Every option of the world model's fit. Raises InputError."""
        method: Method = METHODS.load(self.method)
        how: Kind = FITS.load(method.kind)
        return settle(method.kind, how, False, {**dict(method.fit), **self.fit})


@dataclass(frozen=True)
class Round:
    """One round: every real step up to its end counts.

    Attributes:
        number: 0 is the random data.
        real_steps: of the real env, with those of the rounds before.
        real_return: of the trial, until the env ended it.
        length: its steps.
        imagined_return: of the policy over the horizon, where one was searched for.
        seconds: that the round took.
    """

    number: int
    real_steps: int
    real_return: float
    length: int
    imagined_return: float | None
    seconds: float


@dataclass(frozen=True)
class Learned:
    """What a run came to; ``policy`` is the last round's file, None where a planner acts."""

    folder: Path
    rounds: list[Round]
    policy: Path | None
    enough: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine learn --json`` prints it."""
        return {
            "folder": str(self.folder),
            "policy": None if self.policy is None else str(self.policy),
            "enough": self.enough,
            "rounds": [asdict(one) for one in self.rounds],
        }


def parse_until(text: str | None) -> Callable[[float], bool]:
    """``return >= 900`` as a condition on a return; never where it is None. Raises InputError."""
    if text is None:
        return lambda value: False
    found = re.fullmatch(r"\s*return\s*(>=|>)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*", text)
    if found is None:
        raise InputError(f"--until {text!r} is not like 'return >= 900'")
    least = float(found[2])
    return lambda value: value > least or (found[1] == ">=" and value == least)


def learn_policy(
    env_id: str,
    folder: str | Path = "run",
    *,
    env_kwargs: dict[str, Any] | None = None,
    resume: bool = False,
    log: str | None = None,
    command: str = "imagine_cli.learn_policy",
    progress: Progress | None = None,
    **options: Any,
) -> Learned:
    """Learn a policy for a real env from few of its steps.

    Random data first; then in each round a world model is fitted to all real data, a policy is
    improved by it, and one trial of that policy in the real env adds to the data.
    ``folder/round-03/`` has the ``real.h5``, ``wm.pt``, ``policy.pt`` and ``round.json`` of round
    3, each of which appears whole, ``folder/learning.csv`` a line for each.

    Args:
        env_id: a Gymnasium id.
        folder: where everything goes; made where it isn't there.
        env_kwargs: arguments for the env.
        resume: go on with a folder that a run with the same request left.
        log: ``"tensorboard"``: the rounds' numbers go to ``folder/tensorboard`` too.
        command: what the files say made them.
        progress: told of what goes on.
        **options: of :class:`LearnRequest`.

    Raises:
        InputError: arguments that can't be used, or a folder of another run.
        ImagineError: the env, a fit or a search failed; the folder stays.
    """
    request = LearnRequest(env_id, dict(env_kwargs or {}), **options)
    check_log(log)
    run = _Run(request, Path(folder), command, progress or Silent(), log)
    run.claim(resume)
    enough, rounds = parse_until(request.until), [run.round(0)]
    while rounds[-1].number < request.rounds:
        rounds.append(run.round(rounds[-1].number + 1))
        run.write_table(rounds)
        if enough(rounds[-1].real_return):
            break
    run.progress.finish()
    policy = run.place(rounds[-1].number) / "policy.pt"
    found = policy if policy.exists() else None
    return Learned(run.folder, rounds, found, enough(rounds[-1].real_return))


class _Run:
    """A run in its folder: what is there whole is not done again."""

    def __init__(
        self, request: LearnRequest, folder: Path, command: str, progress: Progress, log: str | None
    ) -> None:
        self.request, self.folder, self.progress, self._log = request, folder, progress, log
        self._command = command
        self.method: Method = METHODS.load(request.method)
        self._policy = request.policy or self.method.policy
        self._steps = 0

    def claim(self, resume: bool) -> None:
        """Make the folder, or find that it is of the same run. Raises InputError."""
        manifest = self.folder / "learn.json"
        asked = json.loads(json.dumps(asdict(self.request)))
        if manifest.exists():
            if not resume:
                raise InputError(
                    f"{self.folder} has a run in it; go on with it by --resume, or name another"
                )
            there = read_json(manifest)
            for name in asked:
                # More rounds, or another end, go on with the same run.
                if name not in ("rounds", "until") and there.get(name) != asked[name]:
                    option = name.replace("_", "-")
                    raise InputError(
                        f"{self.folder} is of another run: its --{option} is {there.get(name)!r}, "
                        f"and now it is {asked[name]!r}"
                    )
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file; name a folder")
        if self.folder.exists() and any(self.folder.iterdir()):
            raise InputError(f"{self.folder} has other files in it; name a new folder")
        if not self.folder.parent.is_dir():
            raise InputError(f"the folder {self.folder.parent} does not exist; make it first")
        self.folder.mkdir(exist_ok=True)
        with whole_file(manifest, overwrite=False) as file:
            file.write(json.dumps(asked, indent=2).encode())

    def place(self, number: int) -> Path:
        """The folder of a round."""
        return self.folder / f"round-{number:02d}"

    def round(self, number: int) -> Round:
        """One round, or what is there of it and the rest."""
        place, begun = self.place(number), time.perf_counter()
        place.mkdir(exist_ok=True)
        done = place / "round.json"
        if done.exists():
            try:
                found = Round(**read_json(done))
                self._steps = int(found.real_steps)
            except (TypeError, ValueError) as error:
                raise InputError(f"{done} is no round of imagine learn; remove it") from error
            return found
        imagined = None
        if number > 0:
            self._fit(number)
            imagined = self._improve(number)
        run = self._act(number)
        self._steps += int(run.lengths.sum())
        assert run.rewards is not None
        total = float(np.nansum(run.rewards, axis=1).mean())
        found = Round(
            number, self._steps, total, int(run.lengths.mean()), imagined,
            round(time.perf_counter() - begun, 3),
        )  # fmt: skip
        with whole_file(done, overwrite=False) as file:
            file.write(json.dumps(asdict(found)).encode())
        if self._log is not None:
            log_round(self.folder / self._log, found)
        return found

    def write_table(self, rounds: list[Round]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(asdict(rounds[0])))
        writer.writeheader()
        writer.writerows(asdict(one) for one in rounds)
        with whole_file(self.folder / "learning.csv", overwrite=True) as file:
            file.write(text.getvalue().encode())

    def _fit(self, number: int) -> None:
        from imagine_cli.checkpoint import save_world_model
        from imagine_cli.fitting import fit_world_model

        path = self.place(number) / "wm.pt"
        if path.exists():
            return
        data = [self.place(k) / "real.h5" for k in range(number)]
        fitted = fit_world_model(
            self.request.env, env_kwargs=dict(self.request.env_kwargs), data=data,
            kind=self.method.kind, seed=self.request.seed + number,
            held_out=max(0.1, _SCORED / self._steps),
            progress=self.progress, **self.request.fit_options(),
        )  # fmt: skip
        save_world_model(fitted.model, path, env=fitted.env, metadata=fitted.metadata)

    def _improve(self, number: int) -> float | None:
        """Search for the round's policy; the return that is imagined of it."""
        from imagine_cli.files import plain_data
        from imagine_cli.search.optimize import optimize_policy

        path, request = self.place(number) / "policy.pt", self.request
        if self.method.plans:
            return None
        if not path.exists():
            before = self.place(number - 1) / "policy.pt"
            optimize_policy(
                request.env, self.place(number) / "wm.pt", env_kwargs=dict(request.env_kwargs),
                policy=str(before) if before.exists() else self._policy, reward=request.reward,
                start=request.start, horizon=request.horizon, iterations=request.iterations,
                seed=request.seed, output=path, command=self._command, progress=self.progress,
                **dict(self.method.search),
            )  # fmt: skip
        return float(plain_data.read(path, "policy", instead="")["metadata"]["imagined_return"])

    def _act(self, number: int) -> RealRun:
        """A trial in the real env, or the random data of round 0; recorded."""
        from imagine_cli.evaluation.real import as_real_run, read_real
        from imagine_cli.policies import make_policy
        from imagine_cli.transitions.join import join

        path, request = self.place(number) / "real.h5", self.request
        with opened_env(request.env, dict(request.env_kwargs)) as (env, about):
            if path.exists():
                return as_real_run(join([read_real(path)], about, reward=True))
            limit = env.spec.max_episode_steps if env.spec is not None else None
            steps = request.trial_steps or limit or _LIMIT
            seed = derived_seed(request.seed, Stream.LEARNING, number)
            if number == 0:
                named, policy = "random", make_policy("random", about, seed=seed)
                total: int | None = request.random_steps
            else:
                named, policy = self._actor(number, env, about, seed)
                total = None
            run = run_real(
                env, about, policy, steps=steps, trajectories=math.inf if total else 1, total=total,
                seed=seed, progress=self.progress,
            )  # fmt: skip
        write_real(run, path, about, policy=named, seed=seed, command=self._command)
        return run

    def _actor(self, number: int, env: Any, about: EnvDescription, seed: int) -> tuple[str, Any]:
        from imagine_cli.policies import make_policy
        from imagine_cli.rollout.prepare import prepare

        place, request = self.place(number), self.request
        if not self.method.plans:
            return str(place / "policy.pt"), make_policy(str(place / "policy.pt"), about, seed=seed)
        asked = RolloutRequest(
            request.env, str(place / "wm.pt"), dict(request.env_kwargs), self._policy, seed=seed,
            reward=request.reward,
        )  # fmt: skip
        return self._policy, prepare(replace(asked, steps=1), env, about).policy
