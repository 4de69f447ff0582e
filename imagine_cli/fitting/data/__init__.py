"""Transitions that somebody recorded, in place of running the env: ``imagine fit --data``."""

from __future__ import annotations

from imagine_cli.fitting.data.join import env_of, join
from imagine_cli.fitting.data.recording import Recording, read_recordings

__all__ = ["Recording", "env_of", "join", "read_recordings"]
