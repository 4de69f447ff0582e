"""Whether what is asked for can be held at all, before any work is done. No torch."""

from __future__ import annotations

import os

from imagine_cli.errors import InputError


def check_memory(numbers: int, what: str) -> None:
    """InputError where this machine's memory can't hold so many float64 numbers, of ``what``."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if 8 * numbers > there:
        raise InputError(
            f"{what} take {8e-9 * numbers:,.0f} GB, and this machine has {1e-9 * there:,.0f} GB of "
            "memory; take fewer"
        )
