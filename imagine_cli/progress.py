"""What long work tells of its progress, so that the library prints nothing itself."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Stages one after another, each of a known or an unknown number of parts."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins, and the one before it ends. ``total`` is the number of its parts."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """``n`` more parts are done; ``note`` says in a few words how it stands."""

    def finish(self) -> None:
        """The last stage ends."""


class Silent:
    """Progress for nobody."""

    def stage(self, name: str, total: int | None = None) -> None:
        pass

    def advance(self, n: int = 1, note: str = "") -> None:
        pass

    def finish(self) -> None:
        pass
