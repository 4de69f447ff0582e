"""Engines: who runs the shards of a rollout, one a file."""

from __future__ import annotations
