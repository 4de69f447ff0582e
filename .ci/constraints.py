"""Prints pip constraints that hold every dependency of pyproject.toml at the lowest it allows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_REQUIREMENT = re.compile(r'"([A-Za-z0-9_.-]+)>=([0-9.]+)[^"]*"')

# The oldest build of torch that CI can have: those before bring gigabytes of another platform.
_TORCH = "torch"


def main() -> int:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    tables = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    lowest: dict[str, str] = {}
    for name, version in _REQUIREMENT.findall(tables):
        if lowest.setdefault(name.lower(), version) != version:
            print(f"{name} has two lowest versions in pyproject.toml", file=sys.stderr)
            return 1
    # Tools that look at the source; and netCDF4, which brings an HDF5 library of its own, whose
    # 1.7.1 can't open our files beside h5py 3.11. Only a test needs it.
    for name in (_TORCH, "mypy", "netcdf4", "ruff"):
        lowest.pop(name, None)
    for name, version in sorted(lowest.items()):
        print(f"{name}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
