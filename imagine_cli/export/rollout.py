"""A rollout for other tools, in one of their formats: one a file of code in this folder."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from imagine_cli.errors import ImagineError, InputError
from imagine_cli.files.whole_file import check_writable, whole_file
from imagine_cli.recording import open_rollout
from imagine_cli.registry import resolve


class Format(NamedTuple):
    """What writes it, to a file or where the name has no ending to a folder, and its usual name."""

    writer: str
    target: str


FORMATS = {
    "csv": Format("imagine_cli.export.table:write_csv", "rollout.csv"),
    "parquet": Format("imagine_cli.export.table:write_parquet", "rollout.parquet"),
    "npz": Format("imagine_cli.export.npz:write", "rollout.npz"),
    "netcdf": Format("imagine_cli.export.netcdf:write", "rollout.nc"),
    "minari": Format("imagine_cli.export.minari:write", "rollout-v0"),
    "torchrl": Format("imagine_cli.export.torchrl:write", "rollout-torchrl"),
}

_MINARI_NAME = r"[\w-]+-v\d+"


def export_rollout(
    rollout: str | Path,
    path: str | Path,
    *,
    to: str | None = None,
    env: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the means and standard deviations of a rollout's trajectories, each up to its end.

    Args:
        rollout: a rollout file, imagined or of a real run.
        path: the file; for Minari and torchrl a new folder. Minari's is named as it names a
            dataset, ``imagined-v0``, in the folder that ``MINARI_DATASETS_PATH`` says to it.
        to: csv, parquet, npz, netcdf, minari or torchrl; what the name of ``path`` says if None.
        env, env_kwargs: for formats that say spaces or what ended a real episode; what the file
            says if None.
        overwrite: replace a file that is there; never a folder.

    Raises:
        InputError: no such format; a file without actions, or that can't be read or written.
        ImagineError: the disk refused.
    """
    source, target = Path(rollout), Path(path)
    to = to or _format_of(target)
    if to not in FORMATS:
        raise InputError(f"no format {to!r} to export a rollout to; there is {', '.join(FORMATS)}")
    folder = not Path(FORMATS[to].target).suffix
    if to == "minari" and not re.fullmatch(_MINARI_NAME, target.name):
        raise InputError(f"Minari names a dataset such as rollout-v0, and not {target.name}")
    if not folder:
        check_writable(target, overwrite)
    elif os.path.lexists(target):
        raise InputError(f"{target} exists; name another folder, as none is replaced")
    elif not target.parent.is_dir():
        raise InputError(f"the output folder {target.parent} does not exist; make it first")
    with open_rollout(source) as opened:
        if "action/mean" not in opened:
            raise InputError(f"{source} has no dataset action/mean, so there are no transitions")
        write = resolve(FORMATS[to].writer)
        if not folder:
            with whole_file(target, overwrite=overwrite) as file:
                write(opened, file)
            return
        try:
            parent = target.parent.absolute()
            with tempfile.TemporaryDirectory(dir=parent, prefix=".") as hidden:
                made = Path(hidden, target.name)
                write(opened, made, env, env_kwargs)
                os.rename(made, target)
        except OSError as error:
            raise ImagineError(f"{target} could not be written: {error.strerror}") from error


def _format_of(target: Path) -> str:
    endings = {Path(each.target).suffix: to for to, each in FORMATS.items()}
    ending = target.suffix.lower()
    if ending and ending in endings:
        return endings[ending]
    if re.fullmatch(_MINARI_NAME, target.name):
        return "minari"
    raise InputError(
        f"a rollout is exported to {', '.join(filter(None, endings))} or a folder such as "
        f"imagined-v0, and not to {target}; --to says which of {', '.join(FORMATS)} it is"
    )
