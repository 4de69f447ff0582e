"""Gaussian-process world models.

- :mod:`~imagine_cli.world_models.gp.base`: what both kinds share; :mod:`~.exact`, :mod:`~.sparse`.
- :mod:`~.posterior`: mean and variance at points; :mod:`~.pathwise`: functions drawn from it.
- :mod:`~.moment_matching`: a belief through it, PILCO's Eqs. 10-23, of :mod:`~.moment_terms`, whose
  sums over pairs of points are in :mod:`~.pair_sum`; :mod:`~.moment_gradient`: its derivative.
- :mod:`~.compiled`: the same as machine code, under the same names.
"""
