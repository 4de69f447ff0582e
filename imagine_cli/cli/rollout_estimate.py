"""What ``imagine rollout --estimate`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.cli.tables import duration
from imagine_cli.errors import InputError

if TYPE_CHECKING:
    from imagine_cli.request import RolloutRequest
    from imagine_cli.rollout.estimate import Estimate


def print_estimate(
    request: RolloutRequest, workers: int, trust_pickle: bool, *, as_json: bool
) -> None:
    """To stdout. Raises InputError for fewer than one worker."""
    if workers < 1:
        raise InputError(f"--workers is {workers}; it must be 1 or more")
    from imagine_cli.rollout.estimate import estimate_rollout

    found = estimate_rollout(request, workers=workers, trust_pickle=trust_pickle)
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(found), indent=2))
    else:
        print("\n".join(_lines(found)))


def _lines(found: Estimate) -> list[str]:
    each = duration(found.row_seconds)
    by = "1 worker" if found.workers == 1 else f"{found.workers} workers"
    memory = [] if found.memory is None else [f"memory  {found.memory / 1e9:.2g} GB in each worker"]
    return [
        f"work    {found.rows} rows of {found.shards // found.rows} shards; a row takes {each}",
        f"time    {duration(found.seconds)} by {by}",
        *memory,
        f"file    {found.file / 1e6:,.3g} MB",
    ]
