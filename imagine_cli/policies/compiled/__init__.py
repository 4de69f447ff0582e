"""Policies as machine code: each file does what the one of its name beside this folder does."""
