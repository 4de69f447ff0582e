"""Imagined against real: scores, baselines, gates, and whether two files say the same."""
