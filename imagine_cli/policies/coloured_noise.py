"""Gaussian noise with a power spectrum ``f^-β``, by the method of Timmer & König (1995)."""

from __future__ import annotations

import numpy as np


def coloured_noise(
    generator: np.random.Generator, shape: tuple[int, int, int], beta: float
) -> np.ndarray:
    """``(C, H, F)``: C x F sequences of H numbers, each number of mean 0 and variance 1.

    Their Fourier coefficients are independent and normal, with variances ``f^-β`` at frequencies
    ``f = 1/H, 2/H, ..., 1/2``; a sequence's mean has that of the lowest. β = 0 is white noise, 2
    Brownian.
    """
    count, length, size = shape
    if beta == 0.0:
        return generator.standard_normal(shape)
    frequencies = np.fft.rfftfreq(length)
    frequencies[0] = 1.0 / length
    scale = frequencies ** (-0.5 * beta)
    # A real signal's first coefficient is real, and of even lengths the last one too.
    real = np.arange(len(scale)) % length == 0
    real[-1] |= length % 2 == 0
    parts = scale * generator.standard_normal((2, count, size, len(scale)))
    spectrum = np.where(real, 2.0**0.5 * parts[0], parts[0] + 1j * parts[1])
    variance = (np.where(real, 2.0, 4.0) * scale**2).sum() / length**2
    noise = np.fft.irfft(spectrum, n=length, axis=-1) / variance**0.5
    return np.ascontiguousarray(noise.swapaxes(1, 2))
