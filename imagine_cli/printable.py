"""What comes out of a file, as text that is shown: on a terminal, in a picture, in XML."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with control characters written out, so that a file can't steer the terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text.encode("utf-8", "backslashreplace").decode()
    )


def spreadsheet_text(text: str) -> str:
    """``text`` printable, and as no spreadsheet takes it for a formula."""
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(("=", "+", "-", "@")) else shown
