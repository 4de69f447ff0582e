"""``imagine rollout`` as one call."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagine_cli.environments import opened_env
from imagine_cli.errors import InputError
from imagine_cli.recording import PartWriter, RolloutWriter
from imagine_cli.request import RolloutRequest

if TYPE_CHECKING:
    import torch

    from imagine_cli.belief import Belief
    from imagine_cli.rollout.engine import Engine, EngineProgress, WorkerTally


@dataclass(frozen=True)
class RolloutSummary:
    """What a rollout did.

    ``start_sd`` and ``end_sd`` are root-mean-square standard deviations over the trajectories,
    ``(D,)``, in the observation's units. ``failed`` trajectories stopped being finite; their
    deviations are no part of ``end_sd``. ``returns`` are the sums of mean rewards of those that got
    to the end, until the env's rule ends them at the beliefs' means; None without a reward.
    ``workers`` did what they did, where other processes imagined; ``lost`` tasks were given to
    another worker because theirs had died.
    """

    path: Path
    env_id: str
    steps: int
    trajectories: int
    observation_names: list[str]
    start_sd: np.ndarray
    end_sd: np.ndarray
    seconds: float
    failed: int = 0
    returns: np.ndarray | None = None
    workers: Mapping[str, WorkerTally] = field(default_factory=dict)
    lost: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``imagine rollout --json`` prints it."""
        workers = {name: asdict(tally) for name, tally in sorted(self.workers.items())}
        return {
            "path": str(self.path),
            "env_id": self.env_id,
            "steps": self.steps,
            "trajectories": self.trajectories,
            "observation_names": self.observation_names,
            "start_sd": self.start_sd.tolist(),
            "end_sd": [None if sd != sd else sd for sd in self.end_sd.tolist()],
            "failed": self.failed,
            "seconds": round(self.seconds, 3),
            **({} if self.returns is None else {"returns": self.returns.tolist()}),
            **({"workers": workers, "lost": self.lost} if workers else {}),
        }


def run_rollout(
    request: RolloutRequest | str = "",
    model: str | Path | torch.nn.Module | None = None,
    *,
    output: str | Path = "rollout.h5",
    overwrite: bool = False,
    resume: bool = False,
    trust_pickle: bool = False,
    engine: str | Engine = "local",
    part: tuple[int, int] | None = None,
    command: str = "imagine_cli.run_rollout",
    on_step: Callable[[int, Belief], None] | None = None,
    on_block: Callable[[], None] | None = None,
    on_tally: Callable[[EngineProgress], None] | None = None,
    **options: Any,
) -> RolloutSummary:
    """Imagine trajectories with a world model and write them to a rollout file.

    ``run_rollout("Pendulum-v1", "wm.pt", steps=100)`` is short for
    ``run_rollout(RolloutRequest(env="Pendulum-v1", model="wm.pt", steps=100))``.

    Args:
        request: what is imagined; or a Gymnasium env id, empty for the env that the model's file
            names, with ``options`` being the rest of a :class:`~imagine_cli.RolloutRequest` and
            the parameters of its propagation, which may be a
            :class:`~imagine_cli.propagation.Propagation`; its policy may be an object too: a
            :class:`~imagine_cli.policies.Policy`, a TensorDictModule from "observation" to
            "action", or any function of observations ``(N, D)``.
        model: a checkpoint's path, or a world model (any TensorDictModule), which stays as it is;
            the request's if None.
        output: the file; it appears when it is complete.
        overwrite: replace a file that is there.
        resume: go on from ``<output>.partial``, which an interrupt, a kill or a disk error left
            of a rollout with the same request. The file becomes what it would have been, to
            the byte. Where there is none it begins anew.
        trust_pickle: load a pickled model, running whatever code it names.
        engine: what runs the shards: ``"local"`` is this process, ``"processes"`` and ``"ray"``
            are others; or an :class:`~imagine_cli.rollout.engine.Engine`.
        part: ``(k, n)``: imagine the k-th of n parts, and leave ``<output>.partial`` for the
            others to go there too. :func:`~imagine_cli.recording.merge.merge_parts` makes the
            file; ``open_rollout`` reads the folder as it is.
        command: what the file says made it.
        on_step: called after each step with (how many trajectories it advanced, their beliefs:
            ``(b, D)`` and ``(b, D, D)``).
        on_block: called before each shard; after what it raises, and after an interrupt,
            ``<output>.partial`` stays.
        on_tally: called where other processes imagine, in place of ``on_step``.

    Raises:
        InputError: arguments or files that can't be used. Nothing has been written then.
        DiskError: the output could not be written; ``<output>.partial`` stays.
        ImagineError: the rollout failed; no file is left.
    """
    propagation, policy = options.get("propagation"), options.get("policy")
    if isinstance(request, str):
        _check_names(options)
        named = str(model) if isinstance(model, (str, Path)) else ""
        request = RolloutRequest.of({**options, "env": request, "model": named})
        if not isinstance(policy, str | None) and engine != "local":
            raise InputError("a policy that is an object acts in this process: save it to a file")
    elif options:
        raise TypeError(f"run_rollout takes {sorted(options)} in the request")
    output = Path(output)
    from imagine_cli.rollout.compiling import remark_on_compiling
    from imagine_cli.rollout.engine import EngineProgress, make_engine
    from imagine_cli.rollout.prepare import prepare, request_header, with_env

    request = with_env(request, model)
    with opened_env(request.env, dict(request.env_kwargs)) as (real, about):
        rollout = prepare(
            request, real, about, model,
            propagation=None if isinstance(propagation, str) else propagation,
            policy=None if isinstance(policy, str) else policy,
            trust_pickle=trust_pickle,
        )  # fmt: skip
        steps = request.steps * request.trajectories
        remark_on_compiling(rollout.dynamics, steps)
        header = request_header(rollout, command)
        progress = EngineProgress(on_step, on_block, on_tally)
        began = time.perf_counter()
        how: dict[str, Any] = {"overwrite": overwrite, **rollout.layout}
        with (
            RolloutWriter(output, header, resume=resume, **how)
            if part is None
            else PartWriter(output, header, part, **how)
        ) as writer:
            _warn_of_partial(output, writer, resume)
            make_engine(engine).run(rollout, writer, progress)
    total = progress.total
    failed = total.trajectories - total.ended
    if failed:
        warnings.warn(_failed(failed, total.trajectories, progress), stacklevel=2)
    with np.errstate(invalid="ignore"):  # where none of them got to the end
        end = np.sqrt(total.end / total.ended if total.ended else total.end * np.nan)
    return RolloutSummary(
        path=output if part is None else writer.folder,
        env_id=rollout.description.id,
        steps=request.steps,
        trajectories=total.trajectories,
        observation_names=rollout.observation_names,
        start_sd=np.sqrt(total.initial / total.trajectories),
        end_sd=end,
        seconds=time.perf_counter() - began,
        failed=failed,
        returns=total.returns if rollout.dynamics.has_reward else None,
        workers=progress.workers,
        lost=progress.lost,
    )


def _check_names(options: dict[str, Any]) -> None:
    known = {*RolloutRequest.__dataclass_fields__, *RolloutRequest.PARAMETERS}
    unknown = sorted(set(options) - known)
    if unknown:
        raise TypeError(f"run_rollout has no argument {unknown[0]!r}")


def _warn_of_partial(output: Path, writer: RolloutWriter, resume: bool) -> None:
    if writer.replaces:
        warnings.warn(
            f"{output}.partial, which an interrupted rollout left, is replaced; with --resume "
            "it would have been gone on from",
            stacklevel=3,
        )
    if resume and not writer.resumed:
        warnings.warn(
            f"there is no {output}.partial to go on from; the rollout begins anew", stacklevel=3
        )


def _failed(failed: int, trajectories: int, progress: EngineProgress) -> str:
    sentence = (
        f"{failed} of {trajectories} trajectories stopped being finite; the rest of each is NaN"
    )
    if not progress.failures:
        return sentence
    first = min(progress.failures, key=lambda failure: (failure.step, failure.trajectory))
    return (
        f"{sentence}; the first was trajectory {first.trajectory}, at step {first.step}: "
        f"{first.reason}"
    )
