"""Moment matching as machine code: each file does what the one of its name beside this folder does.

:mod:`~.step` is what is called; :mod:`~.kernel` says how functions are compiled and kept,
:mod:`~.layout` what arrays they hand on, :mod:`~.vectors` and :mod:`~.exponentials` what they are
made of.
"""
