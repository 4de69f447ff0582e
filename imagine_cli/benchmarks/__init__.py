"""How fast imagining is on this machine, beside its peers and beside what no way around is known.

A room of its own above the world models and the rollouts: nothing imports it but ``imagine bench``
and the scripts in ``tests/benchmarks``.
"""

from __future__ import annotations

from imagine_cli.benchmarks.table import Bench, Row, run_benchmarks

__all__ = ["Bench", "Row", "run_benchmarks"]
