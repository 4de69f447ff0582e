"""Runs the readers on damaged files in child processes that are watched from outside.

A child reads one batch after another file by file. Each ends as ``read``, as ``refused`` (an
ImagineError), or as something that must not be: a crash or a hang of the process, any other
exception, code that runs, a file or a socket that is opened, or memory beyond what is allowed.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import resource
import select
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagine_cli.recording.probe import probing
from tests.fuzz.mutations import mutant

__all__ = ["CORPUS", "Report", "canary_file", "fuzz"]

CORPUS = Path(__file__).parent / "corpus"
_STAND_IN = "/tmp/imagine-fuzz-canary-000000"
_BATCH = 250
_SECONDS = 10
_ROOM = 3 * 2**30
# 256 MiB for one chunk, as much for what it is decoded into, and what it is a copy of.
_MOST = 800 * 2**20
_WATCHED = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
            "subprocess.Popen", "pty.spawn", "socket.connect", "socket.getaddrinfo", "socket.bind",
            "pickle.find_class", "ctypes.dlopen", "os.remove", "os.rename", "os.mkdir",
            "os.symlink", "os.link", "shutil.")  # fmt: skip

Reader = Callable[[Path], None]


@dataclass
class Report:
    """How many inputs ended how, and which seeds did so badly."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, int, str]] = field(default_factory=list)
    canary: bool = False
    caught: int = 0
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return sum(self.counts.values())

    def add(self, outcome: str, name: str, seed: int) -> None:
        self.counts[outcome.split(" ", 1)[0]] += 1
        if outcome not in ("read", "refused"):
            self.bad.append((name, seed, outcome))


def corpus(ending: str, canary: str) -> tuple[dict[str, bytes], dict[str, list[tuple[int, int]]]]:
    """Files by name, their stand-in for the canary replaced, and their sealed ranges."""
    files = {path.name: path.read_bytes() for path in sorted(CORPUS.glob(f"*{ending}"))}
    files = {
        name: content.replace(_STAND_IN.encode(), canary.encode())
        for name, content in files.items()
    }
    return files, json.loads((CORPUS / "sealed.json").read_text())


@contextlib.contextmanager
def canary_file() -> Iterator[str]:
    """A good rollout under a name as long as the stand-in's."""
    path = f"{_STAND_IN[:-6]}{os.getpid() % 10**6:06d}"
    Path(path).write_bytes((CORPUS / "plain.h5").read_bytes())
    try:
        yield path
    finally:
        os.unlink(path)


def fuzz(
    reader: Reader, ending: str, inputs: int, folder: Path, *, first_seed: int = 0,
    seconds: float = _SECONDS, warm: bool = True,
) -> Report:  # fmt: skip
    """Give ``inputs`` mutants of the corpus's files with this ending to ``reader``.

    Args:
        reader: reads one file; imports that it needs have happened.
        ending: ``.h5`` or ``.pt``, or the name of one of them.
        inputs: how many.
        folder: where the mutants go, one at a time.
        first_seed: of the first one.
        seconds: after which one that is still being read is a hang.
        warm: read the corpus first, in this process.
    """
    report, began = Report(), time.monotonic()
    with canary_file() as canary, _opened(canary) as opens:
        files, sealed = corpus(ending, canary)
        for name, content in (
            files.items() if warm else ()
        ):  # what is imported late, is imported now
            path = folder / name
            path.write_bytes(content)
            _outcome(reader, path)
        names = sorted(files)
        seed, last = first_seed, first_seed + inputs
        while seed < last:
            batch = range(seed, min(seed + _BATCH, last))
            seed = _watch(reader, batch, names, files, sealed, canary, folder, report, seconds)
        again = warm and ending in (".h5", ".parquet", ".arrow")
        report.caught = 0 if not again else _again(reader, report, files, sealed, canary, folder)
        report.canary = opens() > 0
    report.seconds = time.monotonic() - began
    return report


def _again(
    reader: Reader, report: Report, files: dict[str, bytes],
    sealed: dict[str, list[tuple[int, int]]], canary: str, folder: Path,
) -> int:  # fmt: skip
    """Read what crashed or hung the process once more, as the command does; how many it refused
    or could read all the same.

    In the fuzzer's child the HDF5 library reads in the process itself, as in any program. The
    command has it try in a process of its own, of whose end a sentence is made.
    """
    left = []
    for name, seed, outcome in report.bad:
        path = folder / f"again{Path(name).suffix}"
        path.write_bytes(mutant(seed, name, files, sealed.get(name, []), canary))
        died = outcome.startswith(("hang", "crash SIG"))
        with probing():
            if not (died and _outcome(reader, path) in ("read", "refused")):
                left.append((name, seed, outcome))
    caught = len(report.bad) - len(left)
    report.bad = left
    return caught


def _watch(
    reader: Reader, batch: range, names: list[str], files: dict[str, bytes],
    sealed: dict[str, list[tuple[int, int]]], canary: str, folder: Path, report: Report,
    seconds: float,
) -> int:  # fmt: skip
    """Fork a child for a batch and note what it says; the seed to go on with."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        try:
            _child(reader, batch, names, files, sealed, canary, folder, theirs)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)
    os.close(theirs)
    at, heard, hung = batch.start, b"", False
    with os.fdopen(ours, "rb", buffering=0) as stream:
        while True:
            if not select.select([stream], [], [], seconds)[0]:
                hung = True
                os.kill(child, signal.SIGKILL)
                break
            piece = stream.read(65536)
            if not piece:
                break
            heard += piece
            *lines, heard = heard.split(b"\n")
            for line in lines:
                report.add(line.decode(errors="replace"), names[at % len(names)], at)
                at += 1
    _, status = os.waitpid(child, 0)
    if at < batch.stop:
        if hung:
            outcome = "hang"
        elif os.WIFSIGNALED(status):
            outcome = f"crash {signal.Signals(os.WTERMSIG(status)).name}"
        else:
            outcome = f"crash with status {os.WEXITSTATUS(status)}"
        report.add(outcome, names[at % len(names)], at)
        at += 1
    return at


def _child(
    reader: Reader, batch: range, names: list[str], files: dict[str, bytes],
    sealed: dict[str, list[tuple[int, int]]], canary: str, folder: Path, pipe: int,
) -> None:  # fmt: skip
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = _memory("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, used + _ROOM))
    seen: list[str] = []
    _spy(seen, str(folder / "mutant"))
    for seed in batch:
        name = names[seed % len(names)]
        path = folder / f"mutant{Path(name).suffix}"
        content = mutant(seed, name, files, sealed.get(name, []), canary)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, content)
        os.close(descriptor)
        seen.clear()
        with open(_CLEAR, "w") as clear:
            clear.write("5")  # the peak, VmHWM, starts anew
        before = _memory("VmHWM")
        outcome = _outcome(reader, path)
        if seen:
            outcome = f"escape {seen[0]}"
        elif _memory("VmHWM") > before + _MOST:
            outcome = f"memory {_memory('VmHWM') - before}"
        os.write(pipe, outcome.replace("\n", " ").encode() + b"\n")
    os._exit(0)


def _spy(seen: list[str], mutants: str) -> None:
    """Note in ``seen`` whatever Python does that a reader has no business with, and stop it."""
    # Python's own modules may be imported late.
    allowed = (*(folder for folder in sys.path if folder), sys.prefix, sys.base_prefix, mutants)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            name = arguments[0]
            if isinstance(name, (str, bytes)):
                name = os.fsdecode(name)
                if name.startswith(allowed) or name in (os.devnull, _STATUS, _CLEAR):
                    return
                seen.append(f"open {name}")
                raise PermissionError(f"the fuzzer allows no open of {name}")
        elif event.startswith(_WATCHED):
            seen.append(f"{event} {arguments[0]!r}"[:200])
            raise PermissionError(f"the fuzzer allows no {event}")

    sys.addaudithook(hook)


def _outcome(reader: Reader, path: Path) -> str:
    from imagine_cli.errors import ImagineError

    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    try:
        reader(path)
    except ImagineError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError) or "allocate memory" in str(cause):
                return f"memory {cause!r}"[:300]
            cause = cause.__cause__ or cause.__context__
        return "refused" if "\n" not in str(error) else f"lines {error}"[:300]
    except BaseException as error:
        return f"traceback {error!r}"[:300]
    finally:
        sys.stdout, sys.stderr = out, err
    return "read"


_STATUS = "/proc/self/status"
_CLEAR = "/proc/self/clear_refs"


def _memory(what: str) -> int:
    """VmSize, VmHWM or VmPeak of this process, in bytes."""
    with open(_STATUS) as stream:
        for line in stream:
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {what} in {_STATUS}")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Callable[[], int]]:
    """Counts how often anyone, the HDF5 library included, opens ``path`` (inotify)."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(path), 0x20) < 0:  # IN_OPEN
        raise OSError(ctypes.get_errno(), "inotify does not work here")

    def count() -> int:
        try:
            return len(os.read(watch, 2**16)) // struct.calcsize("iIII")
        except BlockingIOError:
            return 0

    try:
        yield count
    finally:
        os.close(watch)
