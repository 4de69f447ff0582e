"""The small world models that come with this package."""

from __future__ import annotations

from pathlib import Path

from imagine_cli.errors import InputError
from imagine_cli.files.whole_file import whole_file

_PACKAGE = Path(__file__).parent


def sample_files() -> dict[str, Path]:
    """The checkpoints by name: of an installed package inside it, of a clone beside it."""
    for folder in (_PACKAGE / "sample_models", _PACKAGE.parent / "sample_models"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.pt"))}
    return {}


def copy_sample(name: str, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Copy a sample world model, to ``NAME.pt`` in the current folder if ``output`` is None.

    Returns:
        Where it is now.

    Raises:
        InputError: no such sample, or a file that can't or mustn't be written there.
    """
    samples = sample_files()
    if name not in samples:
        raise InputError(f"no sample model {name!r}; there is {', '.join(samples)}")
    target = Path(f"{name}.pt") if output is None else Path(output)
    with whole_file(target, overwrite=overwrite) as file:
        file.write(samples[name].read_bytes())
    return target
