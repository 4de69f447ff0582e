"""The command line. Nothing imports this package but the entry points."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``imagine`` with ``argv`` (the process's own by default); the exit status."""
    try:
        from imagine_cli.cli.app import main as run

        return run(argv)
    except KeyboardInterrupt:  # while modules are imported
        print("imagine: error: interrupted", file=sys.stderr)
        return 130
