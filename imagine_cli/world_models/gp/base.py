"""What the Gaussian-process world models share: everything but how the posterior comes about."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from imagine_cli.belief import ActionBelief, Belief, joint
from imagine_cli.errors import InputError, MissingExtraError
from imagine_cli.threads import one_thread
from imagine_cli.world_models.base import WorldModel
from imagine_cli.world_models.gp.moment_matching import moment_step
from imagine_cli.world_models.gp.moment_terms import Constants
from imagine_cli.world_models.gp.pathwise import Functions, draw, evaluate, function_size
from imagine_cli.world_models.gp.posterior import GPPosterior
from imagine_cli.world_models.interfaces import UNLIMITED, Conditional, Prediction
from imagine_cli.world_models.tensor_versions import Versions, unchanged, versions_of
from imagine_cli.world_models.tiles import in_tiles, padded

if TYPE_CHECKING:
    from imagine_cli.world_models.gp.compiled.step import CompiledStep

_Model = TypeVar("_Model", bound="GPWorldModel")
_CONSTANTS = tuple(f"_constants_{name}" for name in Constants._fields)
_POSTERIOR = tuple(f"_posterior_{name}" for name in GPPosterior._fields)
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Products of four such numbers are finite in float64.
LARGEST = 1e75


class _Drawn(NamedTuple):
    """Members ``(N,)`` that were asked for, the different ones, which each is, and these."""

    numbers: Tensor
    different: Tensor
    which: Tensor
    functions: Functions


class GPWorldModel(WorldModel):
    """One independent GP for each observation dimension, on the difference ``next - current``.

    Zero prior mean, squared-exponential kernel with a length-scale for each input (ARD)::

        k_a(x̃, x̃') = α_a² exp(-½ Σ_k (x̃_k - x̃'_k)² / ℓ_ak²)

    A belief goes through it by exact moment matching (Deisenroth & Rasmussen 2011, Eqs. 10-23):
    the mean and covariance that come out are those of the GP's posterior averaged over the
    belief, to rounding. At zero variance that is the posterior itself. Gradients flow to the
    belief and the action; the data and hyperparameters are constants.

    It has a member for every whole number: a function drawn from the posterior (:mod:`pathwise
    <imagine_cli.world_models.gp.pathwise>`), the same whenever it is asked. Given a member,
    :meth:`conditional` answers with that function, and its variance is the process noise alone.

    All arithmetic is float64 unless the module is cast; ``dtype`` is that of the beliefs that go
    in and out.

    Attributes:
        called: what errors call it.
        data: the names of what makes it, which is its state dict.
        process_noise: whether the next observation's covariance includes the noise variance.
        jitter: added to the diagonal of a Gram matrix; the kind says to which and in what units.
    """

    called: ClassVar[str]
    data: ClassVar[tuple[str, ...]]
    propagation = "moments"
    members = UNLIMITED

    lengthscales: Tensor
    signal_variances: Tensor
    noise_variances: Tensor
    _posterior_beta: Tensor
    _constants_columns: Tensor
    _noise: Tensor

    def __init__(
        self, data: dict[str, Tensor], process_noise: bool, jitter: float, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.process_noise = process_noise
        self.jitter = jitter
        for name, value in data.items():
            self.register_buffer(name, value)
        with one_thread():
            posterior, explained = self._condition()
        posterior = posterior.padded()
        constants = Constants.of(*posterior[:5], padded(explained, -1, -2))
        for prefix, parts in (("constants", constants), ("posterior", posterior)):
            for name, value in parts._asdict().items():
                self.register_buffer(f"_{prefix}_{name}", value, persistent=False)
        noise = torch.diag_embed(self.noise_variances)
        self.register_buffer("_noise", noise, persistent=False)
        self.observation_size = len(posterior.beta)
        self.action_size = posterior.inputs.shape[1] - self.observation_size
        self.member_size = function_size(posterior)
        self._drawn: _Drawn | None = None
        self.register_load_state_dict_post_hook(_prepare_again)
        self._compiled = False
        self._last_step: CompiledStep | None = None
        self._last_versions: Versions = []

    @abstractmethod
    def _condition(self) -> tuple[GPPosterior, Tensor]:
        """The posterior and its ``RᵀR``, from the data and the jitter. Raises InputError."""

    @classmethod
    def make(
        cls: type[_Model],
        data: dict[str, Any],
        process_noise: bool,
        jitter: float,
        dtype: torch.dtype,
    ) -> _Model:
        """From everything in :attr:`data`, checked and copied. Raises InputError."""
        copied = {
            name: torch.as_tensor(value, dtype=torch.float64).detach().clone()
            for name, value in data.items()
        }
        cls._check(copied, jitter)
        return cls(copied, bool(process_noise), float(jitter), dtype)

    @classmethod
    @abstractmethod
    def _check(cls, data: dict[str, Tensor], jitter: float) -> None:
        """Raises InputError where data don't fit together or have no meaning."""

    @property
    def constants(self) -> Constants:
        """What moment matching takes of the GPs."""
        buffers: dict[str, Any] = self._buffers
        return Constants(*(buffers[name] for name in _CONSTANTS))

    @property
    def posterior(self) -> GPPosterior:
        """The posterior at points, padded."""
        buffers: dict[str, Any] = self._buffers
        return GPPosterior(*(buffers[name] for name in _POSTERIOR))

    @property
    def noise(self) -> Tensor:
        """What is added to the next observation's covariance, ``(D, D)``."""
        return self._noise if self.process_noise else torch.zeros_like(self._noise)

    def moments(self, belief: Belief, action: ActionBelief) -> Prediction:
        shape, size = belief.mean.shape, self.observation_size
        x = joint(belief, action)
        dtype = self.lengthscales.dtype
        mean, var = x.mean.to(dtype), x.var.to(dtype)
        if mean.ndim != 2:
            mean, var = mean.reshape(-1, mean.shape[-1]), var.reshape(-1, *var.shape[-2:])
        step = self.compiled_step()
        if step is None:
            next_mean, next_var, cross = moment_step(self.constants, self.noise, mean, var)
        else:
            next_mean, next_var, cross = step(self.noise, mean, var)
        slope = cross.mT + torch.eye(size, mean.shape[-1], dtype=dtype, device=mean.device)
        parts = (part.to(self.dtype) for part in (next_mean, next_var, slope))
        next_mean, next_var, slope = (part.reshape(*shape[:-1], *part.shape[1:]) for part in parts)
        return Prediction(next_mean, next_var, slope=slope)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        try:
            import numba
        except ImportError as error:
            raise MissingExtraError("numba", "compile") from error
        self._compiled = not numba.config.DISABLE_JIT
        step = self.compiled_step()
        if step is not None:
            step.prepare()

    def compiled_step(self) -> CompiledStep | None:
        """The step of the buffers as they are now, where it is compiled and they allow it."""
        if not self._compiled:
            return None
        constants, columns = self.constants, self._constants_columns
        now = versions_of(constants)
        if self._last_step is not None and unchanged(now, self._last_versions):
            return self._last_step
        if columns.device.type != "cpu" or columns.dtype != torch.float64:
            return None
        from imagine_cli.world_models.gp.compiled.step import CompiledStep

        self._last_step, self._last_versions = CompiledStep(constants), now
        return self._last_step

    def conditional(self, x: Tensor, u: Tensor, member: Tensor | None = None) -> Conditional:
        shape = x.shape
        points = torch.cat([x, u], dim=-1).to(self.lengthscales.dtype)
        flat = points.reshape(-1, points.shape[-1])
        if member is None:
            delta, var = in_tiles(self.posterior.at, flat)
        else:
            which, functions = self._members(member.reshape(-1))
            delta, var = evaluate(functions, which, self.posterior, flat), flat.new_zeros(())
        if self.process_noise:
            var = var + self.noise_variances
        mean = points[..., : shape[-1]] + delta.reshape(shape)
        return Conditional(
            mean.to(self.dtype), var.expand(delta.shape).reshape(shape).to(self.dtype)
        )

    def _members(self, numbers: Tensor) -> tuple[Tensor, Functions]:
        """The functions of ``(N,)`` numbers, each drawn once, and which of them each number is.

        Those of the last call are kept: the steps of a rollout ask for the same ones, or nearly.
        """
        last, like = self._drawn, self._posterior_beta
        if last is not None and (
            last.numbers.device != numbers.device
            or (last.functions.update.device, last.functions.update.dtype)
            != (like.device, like.dtype)
        ):
            last = None
        if last is None or not torch.equal(last.numbers, numbers):
            with torch.no_grad():
                different, which = torch.unique(numbers, return_inverse=True)
                known = None if last is None else (last.different, last.functions)
                functions = draw(self.posterior, different, known)
            last = self._drawn = _Drawn(numbers.clone(), different, which, functions)
        return last.which, last.functions

    def config(self) -> dict[str, Any]:
        return {
            "process_noise": self.process_noise,
            "jitter": self.jitter,
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    @classmethod
    def from_config(cls: type[_Model], config: dict[str, Any], state: dict[str, Tensor]) -> _Model:
        missing = [name for name in cls.data if name not in state]
        if missing:
            raise InputError(f"{cls.called} needs {', '.join(missing)} in its state_dict")
        extra = sorted(set(state) - set(cls.data))
        if extra:
            raise InputError(f"{cls.called} has no {', '.join(extra)} in its state_dict")
        dtype = _DTYPES.get(str(config.get("dtype")))
        process_noise, jitter = config.get("process_noise"), config.get("jitter", 0.0)
        if dtype is None or not isinstance(process_noise, bool) or not isinstance(jitter, float):
            raise InputError(
                f"{cls.called} needs process_noise (true or false), jitter (a number) and dtype "
                f"(float32 or float64) in its config, not {config}"
            )
        data = {name: state[name] for name in cls.data}
        return cls.make(data, process_noise, jitter, dtype)

    def describe(self) -> dict[str, Any]:
        return {
            "process noise": self.process_noise,
            "length-scales": self.lengthscales.tolist(),
            "signal variances": self.signal_variances.tolist(),
            "noise variances": self.noise_variances.tolist(),
        }


def _prepare_again(model: GPWorldModel, _: object) -> None:
    """After other data were loaded into a model: what is made of them. Raises InputError."""
    data = {name: getattr(model, name).cpu() for name in model.data}
    made = model.make(data, model.process_noise, model.jitter, model.dtype)
    like = model.lengthscales
    for name in (*_CONSTANTS, *_POSTERIOR, "_noise"):
        part = getattr(made, name)
        setattr(model, name, part.to(like) if part.is_floating_point() else part.to(like.device))
    model._drawn = None


def gram(signal: Tensor, lengthscales: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """``k_a`` between ``(n, E)`` and ``(m, E)`` points, ``(D, n, m)``, for α² and ℓ ``(D, E)``."""
    one, other = (points / lengthscales.unsqueeze(1) for points in (left, right))
    distance = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist").square()
    return signal[:, None, None] * torch.exp(-0.5 * distance)


def shapes(data: dict[str, Tensor]) -> str:
    """Names and shapes, for errors."""
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in data.items())


def check_values(called: str, data: dict[str, Tensor], jitter: float, *positive: str) -> None:
    """Raises InputError for numbers that are not finite, or not positive where they must be."""
    if not 0.0 <= jitter < float("inf"):
        raise InputError(f"{called} needs a jitter of 0 or more, not {jitter}")
    for name, value in data.items():
        bad = (~torch.isfinite(value)).nonzero()
        if len(bad):
            where = bad[0].tolist()
            raise InputError(f"{name}{where} of {called} is {value[tuple(where)].item()}")
    for name in positive:
        if (data[name] <= 0).any():
            raise InputError(f"the {name} of {called} must be positive")
    if (data["noise_variances"] < 0).any():
        raise InputError(f"the noise_variances of {called} must not be negative")
    for name, value in data.items():
        small = name == "lengthscales" and value.min() < 1.0 / LARGEST
        if small or value.abs().max() > LARGEST:
            raise InputError(
                f"the {name} of {called} are beyond {LARGEST:g}, and their squares beyond what a "
                "number can hold; scale the data"
            )
