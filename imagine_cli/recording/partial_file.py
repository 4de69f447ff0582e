"""A file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from types import ModuleType

from imagine_cli.errors import ImagineError, InputError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where a file that is open elsewhere can't be removed
    fcntl = None

__all__ = ["PartialFile"]


class PartialFile:
    """``<target>.partial``, held by one writer at a time, renamed over ``target`` at the end.

    A lock on the partial file tells a writer at work from what a killed one left behind: the
    former makes :meth:`claim` refuse, the latter is cleared away. A target that is a symbolic
    link stays one; the file that it points to is replaced.
    """

    def __init__(self, target: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.target = Path(os.path.realpath(target))
        self.path = self.target.with_name(self.target.name + ".partial")
        self.overwrite = overwrite
        self._descriptor: int | None = None

    def claim(self) -> int:
        """Make the partial file, or take over a dead writer's; its descriptor. InputError."""
        self._check_target()
        try:
            if fcntl is None or not self._lock():
                self._create_anew()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise InputError(f"{self.target} can't be written: {reason}") from error
        assert self._descriptor is not None
        return self._descriptor

    def publish(self) -> None:
        """Flush the partial file to disk and rename it over the target. Raises ImagineError."""
        assert self._descriptor is not None
        try:
            os.fsync(self._descriptor)
            if fcntl is None:
                self._close()  # where an open file can't be renamed
            self._rename()
        except OSError as error:
            self.discard()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ImagineError(f"{self.target} could not be written: {reason}") from error
        except BaseException:
            self.discard()
            raise
        self._close()
        with contextlib.suppress(OSError):
            folder = os.open(self.target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # so that the new name survives a power cut too
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Remove the partial file; the target stays as it was."""
        if fcntl is None:
            self._close()
        if self._descriptor is not None or fcntl is None:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self._close()

    def _check_target(self) -> None:
        if self.target.is_dir():
            raise InputError(f"the output {self.target} is a folder; name a file in it")
        if self.target.exists():
            if not stat.S_ISREG(self.target.stat().st_mode):
                raise InputError(f"the output {self.target} is not a regular file")
            if not self.overwrite:
                raise InputError(f"{self.target} exists and is not to be overwritten")
        if not self.target.parent.is_dir():
            raise InputError(f"the folder {self.target.parent} does not exist; make it first")

    def _lock(self) -> bool:
        """Whether the partial file is locked by us; False where the file system has no locks."""
        assert fcntl is not None
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.path, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between our open and our lock its last owner may have renamed or removed it.
                ours, there = os.fstat(descriptor), os.stat(self.path, follow_symlinks=False)
                same = (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
            except FileNotFoundError:
                same = False
            except OSError as error:
                os.close(descriptor)
                if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                    raise self._busy() from error
                if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                    return False
                raise
            if same:
                os.ftruncate(descriptor, 0)
                self._descriptor = descriptor
                return True
            os.close(descriptor)

    def _create_anew(self) -> None:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self.path, flags, 0o666)
        except (FileExistsError, PermissionError) as error:
            if not os.access(self.path.parent, os.W_OK):
                raise
            raise self._busy() from error

    def _busy(self) -> InputError:
        return InputError(
            f"{self.target} is being written by another process ({self.path.name} is in use); "
            "wait for it or name another output"
        )

    def _rename(self) -> None:
        if self.overwrite:
            os.replace(self.path, self.target)
            return
        try:
            os.link(self.path, self.target)  # unlike a rename, fails where the target exists
        except FileExistsError as error:
            raise self._overtaken() from error
        except OSError:  # a file system without hard links
            if self.target.exists():
                raise self._overtaken() from None
            os.replace(self.path, self.target)
        else:
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def _overtaken(self) -> ImagineError:
        return ImagineError(
            f"{self.target} was made by someone else in the meantime; it was left alone, and what "
            "was to go there is lost"
        )

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
