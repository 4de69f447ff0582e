"""torchrl's ``GPWorldModel.state_dict()``, read as it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imagine_cli.checkpoint.format import Checkpoint
from imagine_cli.errors import InputError
from imagine_cli.world_models.gp.base import gram

_BUFFERS = (
    "X_tilde_train", "ell", "alpha_sq", "sigma_sq_eps", "_cached_inv_K_noisy", "_cached_beta",
)  # fmt: skip

# torchrl adds this to the noise variance when it builds its Gram matrices (gp.py, _extract_...).
_JITTER = 1e-6


def is_state_dict(data: Any) -> bool:
    """Whether ``data`` looks like the state of a torchrl GPWorldModel, fitted or not."""
    return isinstance(data, dict) and {"X_tilde_train", "ell", "alpha_sq"} <= set(data)


def read_state_dict(data: dict[str, Any], path: str) -> Checkpoint:
    """Our GP with the same inputs, hyperparameters and weights β.

    torchrl keeps β and not the targets; they are ``(K + (σ² + 1e-6) I) β``. Its 1e-8 on every
    predicted covariance is left out. Raises InputError for a model that was never fitted.
    """
    missing = [name for name in _BUFFERS if not isinstance(data.get(name), Tensor)]
    if missing or data["X_tilde_train"].ndim != 2:
        raise InputError(
            f"{path} is the state of a torchrl GPWorldModel that was never fitted "
            f"(missing: {', '.join(missing) or 'X_tilde_train'}); call its fit first"
        )
    inputs, ell, signal, noise, _, beta = (data[name].double() for name in _BUFFERS)
    n, size = inputs.shape
    outputs = ell.numel() // max(size, 1)
    signal, noise = signal.reshape(-1), noise.reshape(-1)
    fits = ell.shape == (outputs, size) and beta.shape == (outputs, n)
    if not (fits and len(signal) == len(noise) == outputs < size):
        parts = ", ".join(f"{name} {tuple(data[name].shape)}" for name in _BUFFERS)
        raise InputError(
            f"{path} is the state of a torchrl GPWorldModel whose parts don't fit together: {parts}"
        )
    for name in _BUFFERS:
        if not torch.isfinite(data[name]).all():
            raise InputError(f"{path} holds numbers that are not finite, in {name}")
    noisy = gram(signal, ell, inputs, inputs)
    noisy.diagonal(dim1=-2, dim2=-1).add_((noise + _JITTER).unsqueeze(-1))
    state = {
        "inputs": inputs,
        "targets": (noisy @ beta.unsqueeze(-1)).squeeze(-1).mT.contiguous(),
        "lengthscales": ell,
        "signal_variances": signal,
        "noise_variances": noise,
    }
    dtype = str(data["ell"].dtype).removeprefix("torch.")
    config = {"process_noise": True, "jitter": _JITTER, "dtype": dtype}
    return Checkpoint("gp", config, state, source="torchrl GPWorldModel")
