"""One thread a process: tests run side by side, and two threads each would fight over cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("RL_WARNINGS", "False")
# The readline library leaves these to the workers of pytest-xdist: they are no user's wish.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)
