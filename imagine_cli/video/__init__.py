"""Videos: the real env set to what was imagined, beside the real run."""
