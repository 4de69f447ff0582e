"""The folder in which a rollout grows, and the file that comes of it, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from imagine_cli.errors import DiskError, ImagineError, InputError
from imagine_cli.files.whole_file import (
    TEMPORARY,
    check_writable,
    hidden_file,
    publish,
    rename_to_new,
)
from imagine_cli.recording.manifest import MANIFEST, Manifest

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where a file that is open elsewhere can't be removed
    fcntl = None

MERGED, VIRTUAL = "merged.h5", "virtual.h5"
_LOCK = "lock"
_SHARD = re.compile(r"shard-\d+-\d+\.h5")


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """What the disk refuses becomes one DiskError about ``target``."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # HDF5's own are of either
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else " ".join(str(error).split())
        raise DiskError(f"{target} could not be written: {reason}") from error


def put_whole(path: Path, data: bytes) -> None:
    """Have a file with that content appear, whole; not yet safe from a power cut. OSError."""
    with hidden_file(path.parent) as file:
        file.write(data)
        file.close()
        os.replace(file.name, path)


class PartialFolder:
    """``<target>.partial``, held by one writer at a time, or shared by writers of parts.

    A lock tells a writer at work, which makes :meth:`claim` refuse, from a dead one. A target
    that is a symbolic link stays one; the file that it points to is replaced.

    Attributes:
        path: ``<target>.partial``.
    """

    def __init__(
        self, target: str | os.PathLike[str], *, overwrite: bool = False, shared: bool = False
    ) -> None:
        self.target = Path(os.path.realpath(target))
        self.path = self.target.with_name(self.target.name + ".partial")
        self.overwrite, self.shared = overwrite, shared
        self._lock: int | None = None

    def claim(self) -> None:
        """Make the folder, or take over a dead writer's as it is. Raises InputError."""
        check_writable(self.target, self.overwrite)
        try:
            while self._lock is None:
                self._claim()
        except OSError as error:
            self.release()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise InputError(f"{self.target} can't be written: {reason}") from error
        except BaseException:
            self.release()
            raise

    def has_shards(self) -> bool:
        """Whether there is a rollout in it that can be gone on from."""
        with contextlib.suppress(OSError):
            names = os.listdir(self.path)
            return MANIFEST in names and any(map(_SHARD.fullmatch, names))
        return False

    def begin(self, manifest: Manifest) -> None:
        """Clear away what is in it, and put the manifest there. Raises DiskError."""
        with disk_errors(self.target):
            self._clear()
            put_whole(self.path / MANIFEST, manifest.text().encode())

    def join(self, manifest: Manifest) -> Manifest:
        """Put the manifest there, but where another writer has; the one that is there.

        Raises DiskError; InputError where the one there is damaged.
        """
        with contextlib.suppress(FileNotFoundError):
            return Manifest.read(self.path)
        with (
            disk_errors(self.target),
            contextlib.suppress(FileExistsError),
            hidden_file(self.path) as file,
        ):
            file.write(manifest.text().encode())
            file.close()
            rename_to_new(Path(file.name), self.path / MANIFEST)
        return Manifest.read(self.path)

    def publish(self) -> None:
        """Have the merged file, which is on the disk, take the target's name; the folder goes.

        Raises:
            DiskError: the disk refuses; everything stays.
            ImagineError: someone else made the target in the meantime; everything goes.
        """
        with disk_errors(self.target):
            try:
                publish(self.path / MERGED, self.target, self.overwrite)
            except ImagineError:
                self.discard()
                raise
        self.discard()

    def release(self) -> None:
        """Leave the folder there."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Remove the folder, where it is ours; the target stays."""
        if self._lock is None:
            return
        if fcntl is None:
            self.release()
        with contextlib.suppress(OSError):
            self._clear()
            (self.path / _LOCK).unlink()
            self.path.rmdir()
        self.release()

    def _clear(self) -> None:
        """The manifest first: without one, what a kill leaves of the rest is of nobody."""
        for name in sorted(os.listdir(self.path)):
            if (
                name in (MANIFEST, MERGED, VIRTUAL)
                or _SHARD.match(name)
                or name.endswith(TEMPORARY)
            ):
                with contextlib.suppress(FileNotFoundError):
                    (self.path / name).unlink()

    def _claim(self) -> None:
        """One try; no lock is had after it where another writer's end came in between."""
        try:
            self.path.mkdir()
        except FileExistsError:
            if stat.S_ISREG(self.path.lstat().st_mode):  # version 0.1 left it
                self.path.unlink()
                return
        if not stat.S_ISDIR(self.path.lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
        path = self.path / _LOCK
        try:
            if fcntl is None:
                path.unlink(missing_ok=True)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            lock = os.open(path, flags, 0o666)
        except FileNotFoundError:
            return
        except PermissionError as error:
            if fcntl is not None:
                raise
            raise self._busy() from error
        try:
            if fcntl is not None:
                self._flock(lock)
            # Between our open and our lock its last owner may have removed it.
            if fcntl is None or os.path.samestat(os.fstat(lock), path.lstat()):
                self._lock, lock = lock, -1
        except FileNotFoundError:
            return
        finally:
            if lock >= 0:
                os.close(lock)

    def _flock(self, descriptor: int) -> None:
        assert fcntl is not None
        try:
            kind = fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                raise self._busy() from error
            # Without locks on this file system nothing tells two writers from each other.
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise

    def _busy(self) -> InputError:
        return InputError(
            f"{self.target} is being written by another process ({self.path.name} is in use); "
            "wait for it or name another output"
        )
