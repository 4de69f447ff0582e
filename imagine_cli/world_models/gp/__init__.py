"""Gaussian-process world models: how a posterior comes about, and how beliefs go through it."""
