"""``imagine learn --seeds`` as one call: the same run with several seeds, as tasks of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_cli.errors import InputError
from imagine_cli.progress import Progress, Silent
from imagine_cli.search.learn import Learned, LearnRequest, learn_policy

if TYPE_CHECKING:
    from imagine_cli.rollout.engine import Engine


def learn_seeds(
    env_id: str,
    folder: str | Path = "run",
    *,
    seeds: Sequence[int],
    engine: str | Engine = "local",
    resume: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> list[Learned]:
    """:func:`learn_policy` with each of ``seeds``, in ``folder/seed-K``.

    The rounds of a run follow from each other, so that it is one task, and what it is alone.

    Args:
        seeds: one or more.
        engine: who runs them, as :func:`~imagine_cli.run_rollout` takes it.
        options: those of learn_policy.

    Raises as learn_policy does.
    """
    from imagine_cli.rollout.engine import make_engine

    known = {*LearnRequest.__dataclass_fields__} & {*options}
    LearnRequest(env_id, **{"env_kwargs": {}, **{name: options[name] for name in known}})
    folder, chosen, progress = Path(folder), make_engine(engine), progress or Silent()
    for place in (folder / f"seed-{seed}" for seed in seeds):
        if not resume and (place / "learn.json").exists():
            raise InputError(f"{place} has a run in it; go on with it by --resume, or name another")
    if not folder.parent.is_dir():
        raise InputError(f"the folder {folder.parent} does not exist; make it first")
    folder.mkdir(exist_ok=True)
    # What a worker that died has left is gone on from.
    runs = [
        {**options, "env_id": env_id, "folder": folder / f"seed-{seed}", "seed": seed,
         "resume": True}
        for seed in seeds
    ]  # fmt: skip
    progress.stage(f"learning with {len(runs)} seeds", len(runs))
    found = dict[int, Learned]()
    for number, learned in chosen.map(_learn, runs):
        found[number] = learned
        progress.advance(1)
    progress.finish()
    return [found[number] for number in sorted(found)]


def _learn(options: dict[str, Any]) -> Learned:
    return learn_policy(**options)
