"""Damages files and reads them: ``python tests/fuzz/fuzz.py [INPUTS [SECONDS_OF_A_HANG]]``.

INPUTS of each kind of ``readers.READERS``, or of each ``--kind``; as many run side by side as there
are cores. Says how many ended how, and exits with 1 if any ended badly. ``--seed N`` starts
elsewhere; ``--one FILE SEED`` writes one mutant to the standard output.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from imagine_cli.threads import cores
from tests.fuzz.harness import Report, corpus, fuzz
from tests.fuzz.mutations import mutant
from tests.fuzz.readers import READERS


def run(ending: str, inputs: int, seed: int, seconds: float) -> Report:
    torch.set_num_threads(1)
    reader = READERS[ending]
    with tempfile.TemporaryDirectory() as folder:
        return fuzz(reader, ending, inputs, Path(folder), first_seed=seed, seconds=seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", type=int, nargs="?", default=30_000)
    parser.add_argument("seconds", type=float, nargs="?", default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", nargs=2, metavar=("FILE", "SEED"))
    parser.add_argument("--kind", choices=READERS, action="append")
    given = parser.parse_args()
    if given.one:
        name, seed = given.one
        canary = "/tmp/imagine-fuzz-canary-000000"
        files, sealed = corpus(Path(name).suffix, canary)
        sys.stdout.buffer.write(mutant(int(seed), name, files, sealed.get(name, []), canary))
        return 0
    kinds = given.kind or [*READERS]
    jobs = [(kind, given.inputs, given.seed, given.seconds) for kind in kinds]
    with multiprocessing.get_context("spawn").Pool(cores(), maxtasksperchild=1) as pool:
        reports = pool.starmap(run, jobs, chunksize=1)
    good = True
    for kind, report in zip(kinds, reports, strict=True):
        counts = ", ".join(f"{count} {what}" for what, count in sorted(report.counts.items()))
        print(f"{kind}: {report.inputs} inputs in {report.seconds:.0f} s: {counts}")
        if report.caught:
            print(f"  {report.caught} that end a library's process: a sentence all the same")
        for name, seed, outcome in report.bad[:200]:
            print(f"  {name} {seed}: {outcome}")
        if report.canary:
            print("  a file outside was opened")
        good = good and not report.bad and not report.canary
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
