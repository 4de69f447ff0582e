"""A file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from imagine_cli.errors import DiskError, ImagineError, InputError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where a file that is open elsewhere can't be removed
    fcntl = None

__all__ = ["PartialFile"]


class PartialFile:
    """``<target>.partial``, held by one writer at a time, renamed over ``target`` at the end.

    It begins as ``<target>.partial.new`` and takes its name with :meth:`show`, when there is
    something in it to see. A lock tells a writer at work from what a killed one left behind: the
    former makes :meth:`claim` refuse, the latter stays until :meth:`show` replaces it. A target
    that is a symbolic link stays one; the file that it points to is replaced.

    Attributes:
        path: ``<target>.partial``.
        leftover: whether a dead writer's was there at :meth:`claim`, with anything in it.
    """

    def __init__(self, target: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.target = Path(os.path.realpath(target))
        self.path = self.target.with_name(self.target.name + ".partial")
        self.overwrite = overwrite
        self.leftover = False
        # Where an open file can't be renamed, it has its name from the beginning.
        self._at = self.path if fcntl is None else self.path.with_name(self.path.name + ".new")
        self._descriptor: int | None = None
        self._left: int | None = None
        self._ours = False

    def claim(self) -> int:
        """Make the new file, or take over a dead writer's; its descriptor. InputError."""
        self._check_target()
        try:
            if fcntl is None or not self._lock():
                self._create_anew()
            self._ours = True
            self._look_for_leftover()
        except OSError as error:
            self.discard()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise InputError(f"{self.target} can't be written: {reason}") from error
        except BaseException:
            self.discard()
            raise
        assert self._descriptor is not None
        return self._descriptor

    def show(self) -> None:
        """Rename the file to :attr:`path`, over what a dead writer left. Raises DiskError."""
        if self._at != self.path:
            with self._one_sentence():
                os.replace(self._at, self.path)
            self._at = self.path
        self._close_leftover()

    def flush(self) -> None:
        """Have the file's contents on the disk. Raises DiskError."""
        assert self._descriptor is not None
        with self._one_sentence():
            os.fsync(self._descriptor)

    def release(self) -> None:
        """Leave the file there; before :meth:`show`, the leftover, which holds more."""
        if self._at != self.path:
            self.discard()
        self._ours = False
        self._close()

    def publish(self) -> None:
        """Flush the partial file to disk and rename it over the target. Raises DiskError."""
        try:
            self.show()
            self.flush()
            if fcntl is None:
                self._close()  # where an open file can't be renamed
            with self._one_sentence():
                self._rename()
        except BaseException:
            self.discard()
            raise
        self._ours = False
        self._close()
        with contextlib.suppress(OSError):
            folder = os.open(self.target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # so that the new name survives a power cut too
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Remove the file; the target, and a leftover that it didn't replace, stay."""
        if fcntl is None:
            self._close()
        if self._ours:
            with contextlib.suppress(OSError):
                os.unlink(self._at)
        self._ours = False
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

    def _look_for_leftover(self) -> None:
        """Raises InputError where another writer has the partial file."""
        if fcntl is None:
            return
        try:
            self._left = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        if self._try_lock(self._left) is False:
            raise self._busy()
        self.leftover = os.fstat(self._left).st_size > 0

    def _lock(self) -> bool:
        """Whether the new file is locked by us; False where the file system has no locks."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._at, flags, 0o666)
            locked = self._try_lock(descriptor)
            if not locked:
                os.close(descriptor)
                if locked is None:
                    return False
                raise self._busy()
            # Between our open and our lock its last owner may have renamed or removed it.
            try:
                ours, there = os.fstat(descriptor), os.stat(self._at, follow_symlinks=False)
                same = (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
            except FileNotFoundError:
                same = False
            if same:
                os.ftruncate(descriptor, 0)
                self._descriptor = descriptor
                return True
            os.close(descriptor)

    def _try_lock(self, descriptor: int) -> bool | None:
        """Whether it is locked now; None where the file system has no locks."""
        assert fcntl is not None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                return False
            if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                return None
            raise
        return True

    def _create_anew(self) -> None:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._at)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self._at, flags, 0o666)
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

    @contextlib.contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise DiskError(f"{self.target} could not be written: {reason}") from error

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._close_leftover()

    def _close_leftover(self) -> None:
        if self._left is not None:
            os.close(self._left)
            self._left = None
