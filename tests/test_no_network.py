"""No command uses the network: any that tried would fail here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = str(ROOT / "sample_models" / "pendulum-gp.pt")

# Run with the arguments of ``imagine``; any use of the network ends it with status 99.
CUT_OFF = """
import os, sys

def hook(event, arguments):
    if event.startswith(("socket.connect", "socket.sendto", "socket.getaddrinfo",
                         "socket.gethostby", "socket.getnameinfo", "urllib.Request", "ftplib.",
                         "http.client.connect", "smtplib.")):
        os.write(2, f"the network: {event} {arguments}\\n".encode())
        os._exit(99)

sys.addaudithook(hook)
if sys.argv[1] == "reach out":
    import socket
    socket.getaddrinfo("localhost", 80)
from imagine_cli.cli import main
sys.exit(main(sys.argv[1:]))
"""


def cut_off(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CUT_OFF, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_test_would_notice(tmp_path: Path) -> None:
    assert cut_off(tmp_path, "reach out").returncode == 99


@pytest.mark.long
def test_no_command_uses_the_network(tmp_path: Path) -> None:
    pendulum = ("--env", "Pendulum-v1")
    few = ("--steps", "5", "-n", "2")
    for arguments in (
        ("--help",),
        ("rollout", *pendulum, "--model", MODEL, *few, "-o", "a.h5"),
        ("inspect", "a.h5"),
        ("inspect", "a.h5", "--plot"),
        ("inspect", MODEL, "--json"),
        ("compare", "a.h5", "a.h5"),
        ("plot", "a.h5", "-o", "a.png"),
        ("plot", "a.h5", "-o", "a.html"),
        ("sample", "pendulum-linear"),
        ("evaluate", *pendulum, "--model", MODEL, *few),
        ("fit", *pendulum, "--kind", "linear", "--steps", "200", "-o", "wm.pt"),
        ("fit", *pendulum, "--steps", "200", "--points", "20", "--restarts", "1", "-o", "gp.pt"),
    ):
        done = cut_off(tmp_path, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
