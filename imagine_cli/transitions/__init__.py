"""Transitions that somebody recorded, in whatever format, in place of running an env."""
