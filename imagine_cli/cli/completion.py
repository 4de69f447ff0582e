"""What a shell offers after Tab. Files are what it offers where nothing here begins like that."""

from __future__ import annotations

from collections.abc import Callable

Complete = Callable[[str], list[str]]


def names_of(table: str) -> Complete:
    """The names in a table of :mod:`imagine_cli.registry`, other packages' too."""

    def complete(incomplete: str) -> list[str]:
        from imagine_cli import registry

        return [name for name in getattr(registry, table) if name.startswith(incomplete)]

    return complete


def env_ids(incomplete: str) -> list[str]:
    """Gymnasium's, and those that installed packages register with it."""
    import gymnasium

    return sorted(name for name in gymnasium.registry if name.startswith(incomplete))


def sample_names(incomplete: str) -> list[str]:
    """Of the sample models."""
    from imagine_cli.samples import sample_files

    return [name for name in sample_files() if name.startswith(incomplete)]
