"""The Gaussian-process world model of PILCO, with exact moment matching."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, joint
from imagine_cli.errors import InputError
from imagine_cli.propagation.moment_matching import GPs, moment_match
from imagine_cli.world_models.base import Conditional, Prediction, WorldModel
from imagine_cli.world_models.tiles import in_tiles, padded

__all__ = ["GaussianProcessWorldModel"]

_DATA = ("inputs", "targets", "lengthscales", "signal_variances", "noise_variances")
_DERIVED = tuple(f"_{name}" for name in GPs._fields)


class GaussianProcessWorldModel(WorldModel):
    """One independent GP for each observation dimension, on the difference ``next - current``.

    Zero prior mean, squared-exponential kernel with a length-scale for each input (ARD)::

        k_a(x̃, x̃') = α_a² exp(-½ Σ_k (x̃_k - x̃'_k)² / ℓ_ak²)

    A belief goes through it by exact moment matching (Deisenroth & Rasmussen 2011, Eqs. 10-23):
    the mean and covariance that come out are those of the GP's posterior averaged over the
    belief, to rounding. At zero variance that is the posterior itself. Gradients flow to the
    belief and the action; the data and hyperparameters are constants.

    Made by :meth:`from_hyperparameters`, ``imagine fit`` or ``load_world_model``. All arithmetic
    is float64 unless the module is cast; ``dtype`` is that of the beliefs that go in and out.

    Attributes:
        process_noise: whether the next observation's covariance includes the noise variance.
        jitter: added to the noise variance in the Gram matrix alone.
    """

    kind = "gp"
    propagations = ("moments", "linearized", "unscented", "particles")
    propagation = "moments"

    inputs: Tensor
    targets: Tensor
    lengthscales: Tensor
    signal_variances: Tensor
    noise_variances: Tensor

    def __init__(
        self, *data: Tensor, process_noise: bool, jitter: float, dtype: torch.dtype
    ) -> None:
        super().__init__()
        inputs, targets = data[:2]
        self.observation_size = targets.shape[1]
        self.action_size = inputs.shape[1] - targets.shape[1]
        self.dtype = dtype
        self.process_noise = process_noise
        self.jitter = jitter
        for name, value in zip(_DATA, data, strict=True):
            self.register_buffer(name, value)
        with _one_thread():
            derived = _factorise(*data, jitter=jitter)
        for name, value in derived._asdict().items():
            self.register_buffer(f"_{name}", value, persistent=False)
        self.register_buffer("_noise", torch.diag_embed(data[4]), persistent=False)

    @classmethod
    def from_hyperparameters(
        cls,
        inputs: Any,
        targets: Any,
        lengthscales: Any,
        signal_variances: Any,
        noise_variances: Any,
        process_noise: bool = True,
        *,
        jitter: float = 0.0,
        dtype: torch.dtype = torch.float64,
    ) -> GaussianProcessWorldModel:
        """The posterior for given data and hyperparameters.

        Args:
            inputs: X̃, observations and actions side by side, ``(n, D+F)``.
            targets: next observation minus observation, ``(n, D)``.
            lengthscales: ℓ, ``(D, D+F)``, in the inputs' units.
            signal_variances: α², ``(D,)``, in the targets' units squared.
            noise_variances: σ², ``(D,)``, likewise; zero where the Gram matrix allows it.
            process_noise: add σ² to the next observation's covariance.
            jitter: added to σ² in the Gram matrix alone.
            dtype: of the beliefs that go in and come out.

        Raises:
            InputError: shapes that don't fit together, values that are not finite or not
                positive, or a Gram matrix that is not positive definite.
        """
        given = (inputs, targets, lengthscales, signal_variances, noise_variances)
        data = [torch.as_tensor(value, dtype=torch.float64).detach().clone() for value in given]
        _validate(*data)
        if not 0.0 <= jitter < float("inf"):
            raise InputError(f"a Gaussian process needs a jitter of 0 or more, not {jitter}")
        return cls(*data, process_noise=bool(process_noise), jitter=float(jitter), dtype=dtype)

    @property
    def gps(self) -> GPs:
        """The GPs as moment matching takes them."""
        buffers: dict[str, Any] = self._buffers
        return GPs(*(buffers[name] for name in _DERIVED))

    def predict(self, observation: Belief, action: ActionBelief) -> Prediction:
        shape, size = observation.mean.shape, self.observation_size
        x = joint(observation, action)
        dtype = self.inputs.dtype
        mean = x.mean.to(dtype).reshape(-1, x.mean.shape[-1])
        var = x.var.to(dtype).reshape(-1, *x.var.shape[-2:])
        delta, spread, cross = moment_match(self.gps, mean, var)
        if self.process_noise:
            spread = spread + self._noise
        # Eqs. 10-12: x' = x + Δ with cov[x, Δ] the first D rows of Σ̃ V.
        shared = (var[:, :size].unsqueeze(2) * cross.mT.contiguous().unsqueeze(1)).sum(-1)
        half = torch.add(shared, var[:, :size, :size] + spread, alpha=0.5)
        next_var = half + half.mT
        return Prediction(
            (mean[:, :size] + delta).reshape(shape).to(self.dtype),
            next_var.reshape(*shape, size).to(self.dtype),
        )

    def conditional(self, x: Tensor, u: Tensor, member: Tensor | None = None) -> Conditional:
        shape = x.shape
        points = torch.cat([x, u], dim=-1).to(self.inputs.dtype)
        root = padded(self.gps.inverse_root, -1, -2).mT
        delta, var = in_tiles(partial(self._posterior, root), points.reshape(-1, points.shape[-1]))
        mean = points[..., : shape[-1]] + delta.reshape(shape)
        return Conditional(mean.to(self.dtype), var.reshape(shape).to(self.dtype))

    def _posterior(self, root: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the difference and variance of the next observation at ``(N, D+F)``: ``(N, D)``.

        Rasmussen & Williams 2006, Eqs. 2.25 and 2.26. ``root`` is the Gram matrices' inverse root,
        transposed and padded.
        """
        gps = self.gps
        # Sums along rows and no small matrix products, so that every point's are done alike.
        distance = points.new_zeros((gps.beta.shape[0], points.shape[0], gps.inputs.shape[0]))
        for k, precision in enumerate(self.lengthscales.square().reciprocal().mT):
            square = (points[:, k, None] - gps.inputs[:, k]).square()
            distance = distance + precision[:, None, None] * square
        kernel = (gps.log_signal[:, None, None] - 0.5 * distance).exp()  # (D, N, n)
        mean = (kernel * gps.beta.unsqueeze(1)).sum(-1)
        known = (padded(kernel, -1) @ root).square().sum(-1)
        var = (gps.signal.unsqueeze(-1) - known).clamp_min(0.0)
        if self.process_noise:
            var = var + self.noise_variances.unsqueeze(-1)
        return mean.mT, var.mT

    def config(self) -> dict[str, Any]:
        return {
            "process_noise": self.process_noise,
            "jitter": self.jitter,
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], state: dict[str, Tensor]
    ) -> GaussianProcessWorldModel:
        missing = [name for name in _DATA if name not in state]
        if missing:
            raise InputError(f"a Gaussian process needs {', '.join(missing)} in its state_dict")
        extra = sorted(set(state) - set(_DATA))
        if extra:
            raise InputError(f"a Gaussian process has no {', '.join(extra)} in its state_dict")
        dtype = {"float32": torch.float32, "float64": torch.float64}.get(str(config.get("dtype")))
        process_noise, jitter = config.get("process_noise"), config.get("jitter", 0.0)
        if dtype is None or not isinstance(process_noise, bool) or not isinstance(jitter, float):
            raise InputError(
                "a Gaussian process needs process_noise (true or false), jitter (a number) and "
                f"dtype (float32 or float64) in its config, not {config}"
            )
        return cls.from_hyperparameters(
            **{name: state[name] for name in _DATA},
            process_noise=process_noise,
            jitter=jitter,
            dtype=dtype,
        )

    def describe(self) -> dict[str, Any]:
        return {
            "training points": int(self.inputs.shape[0]),
            "process noise": self.process_noise,
            "length-scales": self.lengthscales.tolist(),
            "signal variances": self.signal_variances.tolist(),
            "noise variances": self.noise_variances.tolist(),
        }


def _validate(
    inputs: Tensor,
    targets: Tensor,
    lengthscales: Tensor,
    signal_variances: Tensor,
    noise_variances: Tensor,
) -> None:
    given = (inputs, targets, lengthscales, signal_variances, noise_variances)
    shapes = ", ".join(
        f"{name} {tuple(value.shape)}" for name, value in zip(_DATA, given, strict=True)
    )
    if inputs.ndim != 2 or targets.ndim != 2 or min(*inputs.shape, *targets.shape) < 1:
        raise InputError(f"a Gaussian process needs inputs (n, D+F) and targets (n, D): {shapes}")
    (n, size), outputs = inputs.shape, targets.shape[1]
    wanted = ((n, size), (n, outputs), (outputs, size), (outputs,), (outputs,))
    if size < outputs or any(tuple(v.shape) != w for v, w in zip(given, wanted, strict=True)):
        raise InputError(
            "the data of a Gaussian process don't fit together: wanted inputs (n, D+F), targets "
            f"(n, D), lengthscales (D, D+F), variances (D,); got {shapes}"
        )
    for name, value in zip(_DATA, given, strict=True):
        bad = (~torch.isfinite(value)).nonzero()
        if len(bad):
            raise InputError(
                f"{name}{bad[0].tolist()} of a Gaussian process is {value[tuple(bad[0])].item()}"
            )
    for name, value in (("lengthscales", lengthscales), ("signal_variances", signal_variances)):
        if (value <= 0).any():
            raise InputError(f"the {name} of a Gaussian process must be positive")
    if (noise_variances < 0).any():
        raise InputError("the noise_variances of a Gaussian process must not be negative")


@contextmanager
def _one_thread() -> Iterator[None]:
    """LAPACK rounds differently with the number of threads; this must not show in a rollout."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _factorise(
    inputs: Tensor,
    targets: Tensor,
    lengthscales: Tensor,
    signal_variances: Tensor,
    noise_variances: Tensor,
    *,
    jitter: float,
) -> GPs:
    """What depends on the data alone (Eq. 7 and what moment matching folds together)."""
    scaled = inputs / lengthscales.unsqueeze(1)  # (D, n, E)
    distance = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist").square()
    gram = signal_variances[:, None, None] * torch.exp(-0.5 * distance)
    gram.diagonal(dim1=-2, dim2=-1).add_((noise_variances + jitter).unsqueeze(-1))
    root, failed = torch.linalg.cholesky_ex(gram)
    if failed.any():
        raise InputError(
            f"the Gram matrix of output {int(failed.nonzero()[0])} is not positive definite: "
            "training points coincide, or the noise variance is too small beside the signal "
            "variance; raise noise_variances"
        )
    eye = torch.eye(inputs.shape[0], dtype=inputs.dtype)
    beta = torch.cholesky_solve(targets.mT.unsqueeze(-1), root).squeeze(-1)
    inverse_root = torch.linalg.solve_triangular(root, eye, upper=False)
    explained = torch.cholesky_inverse(root)
    return GPs.of(inputs, lengthscales, signal_variances, beta, inverse_root, explained)
