"""What Numba's own loops, sums and cache do not do, for which compiled/ has code of its own.

    python tests/benchmarks/numba_limits.py

Each case is a process of its own; its exit status and last line are printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PARALLEL = """
import os, threading, numba, numpy as np
@numba.njit(parallel=True)
def f(x):
    for i in numba.prange(len(x)):
        x[i] = np.exp(x[i])
f(np.zeros(1000))
"""
FORK = """
if not (child := os.fork()):
    f(np.zeros(1000)); os._exit(0)
print("the child's status:", os.waitpid(child, 0)[1])
"""
THREADS = """
work = [threading.Thread(target=lambda: [f(np.zeros(10**5)) for _ in range(200)]) for _ in "1234"]
[each.start() for each in work]; [each.join() for each in work]
"""
FASTMATH = """
import numba, numpy as np
@numba.njit(fastmath=True)
def f(x):
    total = 0.0
    for i in range(len(x)):
        total += x[i]
    return total
print(f(np.random.default_rng(0).standard_normal(1001)).hex())
"""
CACHED = "import numba\n@numba.njit(cache=True)\ndef f(x):\n    return x + 1.0\nprint(f(1.0))\n"
FULL = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
FULL += "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"


def show(name: str, file: Path, program: str, **variables: str) -> None:
    file.write_text(program)
    env = {**os.environ, "NUMBA_CACHE_DIR": str(file.parent / "cache"), **variables}
    done = subprocess.run([sys.executable, str(file)], env=env, capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip(" ^~")]
    print(f"{name}: exit {done.returncode}")
    for line in lines[-3:]:
        print(f"    {line.strip()[:140]}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.py"
        for layer in ("omp", "workqueue"):
            chosen = {"NUMBA_THREADING_LAYER": layer}
            show(f"prange with {layer}, a forked process", file, PARALLEL + FORK, **chosen)
            show(f"prange with {layer}, two threads at once", file, PARALLEL + THREADS, **chosen)
        for processor in ("nehalem", "haswell"):
            chosen = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
            show(f"a sum with fastmath, on {processor}", file, FASTMATH, **chosen)
        show("cache, a full disk", file, FULL + CACHED)
        show("cache, whole", file, CACHED)
        for index in file.parent.glob("cache/**/*.nbi"):
            index.write_bytes(b"\0damaged")
        show("cache, a damaged index", file, CACHED)
        show("cache, the same at the next call", file, CACHED)


if __name__ == "__main__":
    main()
