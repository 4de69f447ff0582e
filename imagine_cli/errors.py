"""What can go wrong, in sentences: each error says what, where and what to do."""

from __future__ import annotations


class ImagineError(Exception):
    """It ran and failed. The command line prints the sentence and exits with status 1."""

    exit_status = 1


class InputError(ImagineError, ValueError):
    """The arguments or the inputs are unusable: exit status 2."""

    exit_status = 2


class DiskError(ImagineError):
    """A file could not be written: no room, no rights, no folder any more."""


class Interrupted(ImagineError):
    """It was asked to stop, and stopped where it can go on later.

    ``exit_status`` is 130 after SIGINT (Ctrl-C) and 143 after SIGTERM.
    """

    def __init__(self, sentence: str, exit_status: int = 130) -> None:
        super().__init__(sentence)
        self.exit_status = exit_status


class MissingExtraError(InputError, ImportError):
    """An optional library is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed; run: pip install 'imagine-cli[{extra}]'")


class Remark(UserWarning):
    """A sentence worth reading that warns of nothing. The command line prints it as it is."""


def require(extra: str, *modules: str) -> None:
    """MissingExtraError where a library of an extra can't be imported."""
    try:
        for name in modules:
            __import__(name)
    except ImportError as error:
        raise MissingExtraError(error.name or name, extra) from error
