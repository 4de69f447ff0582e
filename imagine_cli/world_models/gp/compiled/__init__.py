"""Gaussian-process predictions compiled by numba."""
