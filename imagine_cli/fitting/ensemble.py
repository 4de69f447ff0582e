"""Fitting the ensemble of Gaussian networks: Adam, and early stopping.

Chua et al. 2018, appendix A.1: every network is trained on its own bootstrap of the training
transitions, on the Gaussian negative log-likelihood with a small pull on the bounds of the
log-variances. The calibration transitions validate: what is kept are the networks as they were
when their mixture predicted these best, and training ends when that has been a while ago. The
elites are the networks that predict them best.

Best is by the likelihood with the variances of each dimension multiplied by the factor that suits
the transitions most. Networks that fit ever better are ever too sure of it, on a few transitions
first (a clipped velocity, a wall); without the factor those few would end the training when the
means are still many times as far off as they will be. In the end each network's variances are
multiplied by such a factor, so that the mixture is calibrated.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagine_cli.errors import ImagineError
from imagine_cli.fitting.kinds import Fit, Option
from imagine_cli.fitting.split import Split, scales
from imagine_cli.memory import check_memory
from imagine_cli.progress import Progress
from imagine_cli.seeds import Stream, seed_sequence
from imagine_cli.threads import one_thread
from imagine_cli.transitions.transitions import Transitions
from imagine_cli.world_models.ensemble import EnsembleWorldModel
from imagine_cli.world_models.networks import bounded, through

OPTIONS = {
    "members": Option(7),
    "elites": Option(5, within="members"),
    "hidden": Option(128),
    "layers": Option(3),
    "epochs": Option(100),
    "patience": Option(10),
}
MODELS_REWARD = True
LIBRARIES = ()

# Transitions in a batch: few of few, so that an epoch has at least twenty updates or so. By
# batches of 256 a network of 360 transitions errs four times as far after as many epochs.
_SMALLEST_BATCH, _LARGEST_BATCH, _UPDATES = 32, 256, 20
_LEARNING_RATE = 1e-3
_BOUNDS_PULL = 0.01
# An improvement of less than this many nats in all is none.
_LEAST_IMPROVEMENT = 0.01
_DTYPE = torch.float32


@one_thread()
def fit(
    data: Split,
    *,
    reward: bool,
    seed: int,
    progress: Progress,
    members: int,
    elites: int,
    hidden: int,
    layers: int,
    epochs: int,
    patience: int,
) -> Fit:
    """``members`` networks of ``layers`` hidden layers of ``hidden`` units, the best ``elites``.

    Raises:
        ImagineError: the loss is no number any more.
    """
    inputs, targets = data.training.inputs, data.training.targets(reward)
    numbers = members * hidden * (inputs.shape[1] + (layers - 1) * hidden + 2 * targets.shape[1])
    # Each in float32, its gradient, Adam's two moments of it, and the best so far.
    check_memory(5 * numbers // 2, f"{members} networks of {layers} layers of {hidden} units")
    standards = {
        "input_mean": inputs.mean(axis=0), "input_scale": scales(inputs),
        "target_mean": targets.mean(axis=0), "target_scale": scales(targets),
    }  # fmt: skip

    def standard(some: Transitions) -> tuple[Tensor, Tensor]:
        x = (some.inputs - standards["input_mean"]) / standards["input_scale"]
        y = (some.targets(reward) - standards["target_mean"]) / standards["target_scale"]
        return torch.as_tensor(x, dtype=_DTYPE), torch.as_tensor(y, dtype=_DTYPE)

    key = seed_sequence(seed, Stream.FIT_ENSEMBLE).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(key >> np.uint64(1)))
    sizes = [inputs.shape[1], *[hidden] * layers, 2 * targets.shape[1]]
    networks = _Networks(members, sizes, generator)
    history = _train(
        networks, standard(data.training), standard(data.calibration), generator, progress,
        epochs=epochs, patience=patience,
    )  # fmt: skip
    chosen = sorted(torch.argsort(networks.best, stable=True)[:elites].tolist())
    with torch.no_grad():
        x, y = standard(data.calibration)
        networks.multiply_variances(_variance_factors(*networks.predict(x, chosen), y))
    model = EnsembleWorldModel.from_parameters(
        networks.kept[:-2:2],
        networks.kept[1:-2:2],
        min_logvar=networks.kept[-2],
        max_logvar=networks.kept[-1],
        elites=chosen,
        reward=reward,
        **standards,
    )
    summary = {
        "training_transitions": len(data.training),
        "validation_transitions": len(data.calibration),
        "training": {**history, "validation_losses": networks.best.tolist()},
    }
    return Fit(model, summary)


class _Networks:
    """The parameters of M networks with common bounds, and the best that they have been."""

    def __init__(self, members: int, sizes: list[int], generator: torch.Generator) -> None:
        self.layers: list[tuple[Tensor, Tensor]] = []
        for fan_in, fan_out in pairwise(sizes):
            weight = torch.empty(members, fan_in, fan_out, dtype=_DTYPE)
            # As PETS draws them: truncated at two standard deviations.
            torch.nn.init.trunc_normal_(
                weight, std=0.5 / fan_in**0.5, a=-1.0 / fan_in**0.5, b=1.0 / fan_in**0.5,
                generator=generator,
            )  # fmt: skip
            bias = torch.zeros(members, fan_out, dtype=_DTYPE)
            self.layers.append((weight.requires_grad_(), bias.requires_grad_()))
        outputs = sizes[-1] // 2
        self.low = torch.full((outputs,), -10.0, dtype=_DTYPE, requires_grad=True)
        self.high = torch.full((outputs,), 0.5, dtype=_DTYPE, requires_grad=True)
        self.best = torch.full((members,), torch.inf, dtype=_DTYPE)
        self.kept: list[Tensor] = []
        self._least = self._last_good = np.inf

    @property
    def parameters(self) -> list[Tensor]:
        """Weights and biases of each layer in turn, then the bounds."""
        return [*(part for layer in self.layers for part in layer), self.low, self.high]

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean negative log-likelihood, less a constant, of each network ``(M,)``."""
        mean, logvar = through(self.layers, x, "silu").chunk(2, dim=-1)
        logvar = bounded(logvar, self.low, self.high)
        errors = (mean - y).square() * (-logvar).exp()
        return 0.5 * (errors + logvar).sum(-1).mean(-1)

    def keep(self, x: Tensor, y: Tensor) -> tuple[float, bool]:
        """Keep these networks if their mixture predicts ``y`` at ``x`` best yet.

        Returns:
            The loss, and whether it is less by more than a little than when that was so last.
        """
        mean, var = self._predict(self.parameters, x)
        middle, total = _mixture(mean, var)
        loss = float(_factored_loss(middle, total, y))
        if loss < self._least:
            self._least = loss
            self.best = _factored_loss(mean, var, y)
            self.kept = [part.detach().clone() for part in self.parameters]
        if loss < self._last_good - _LEAST_IMPROVEMENT:
            self._last_good = loss
            return loss, True
        return loss, False

    def predict(self, x: Tensor, chosen: list[int]) -> tuple[Tensor, Tensor]:
        """What the chosen ones of those kept predict: means and variances ``(m, N, K)``."""
        mean, var = self._predict(self.kept, x)
        return mean[chosen], var[chosen]

    def multiply_variances(self, factors: Tensor) -> None:
        """Multiply all variances of those kept by ``(K,)``."""
        shift = factors.log()
        self.kept[-3] = self.kept[-3] + torch.cat([torch.zeros_like(shift), shift])
        self.kept[-2:] = [bound + shift for bound in self.kept[-2:]]

    def _predict(self, parameters: list[Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        layers = list(zip(parameters[:-2:2], parameters[1:-2:2], strict=True))
        x = x.expand(len(layers[0][0]), *x.shape)
        mean, logvar = through(layers, x, "silu").chunk(2, dim=-1)
        return mean, bounded(logvar, *parameters[-2:]).exp()


def _train(
    networks: _Networks,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    generator: torch.Generator,
    progress: Progress,
    *,
    epochs: int,
    patience: int,
) -> dict[str, Any]:
    """Train until nothing gets better; what the epochs' losses were."""
    x, y = training
    members, count = len(networks.best), len(x)
    optimizer = torch.optim.Adam(networks.parameters, lr=_LEARNING_RATE)
    bootstrap = torch.randint(count, (members, count), generator=generator)
    size = min(max(_SMALLEST_BATCH, count // _UPDATES), _LARGEST_BATCH)
    progress.stage("training", epochs)
    losses, held_back, waited, epoch = [], [], 0, 0
    while epoch < epochs and waited < patience:
        order = torch.rand(members, count, generator=generator).argsort(-1)
        rows = bootstrap.gather(1, order)
        total = 0.0
        for batch in torch.split(rows, size, dim=1):
            optimizer.zero_grad()
            loss = networks.losses(x[batch], y[batch]).sum()
            pull = _BOUNDS_PULL * (networks.high.sum() - networks.low.sum())
            (loss + pull).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * batch.shape[1]
        with torch.no_grad():
            loss_ahead, better = networks.keep(*validation)
        losses.append(total / (members * count))
        held_back.append(loss_ahead)
        if not np.isfinite([losses[-1], held_back[-1]]).all():
            raise ImagineError(
                f"the loss of the ensemble is {losses[-1]} after {epoch + 1} epochs; try another "
                "--seed, or fewer --hidden"
            )
        waited = 0 if better else waited + 1
        epoch += 1
        progress.advance(note=f"loss {losses[-1]:.3f}, validation {held_back[-1]:.3f}")
    return {"epochs": epoch, "losses": losses, "mixture_validation_losses": held_back}


def _mixture(mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance ``(N, K)`` of the mixture of ``(m, N, K)``."""
    middle = mean.mean(0)
    return middle, var.mean(0) + (mean - middle).square().mean(0)


def _factored_loss(mean: Tensor, var: Tensor, y: Tensor) -> Tensor:
    """Mean negative log-likelihood, less a constant, of ``(*S, N, K)``, with the variances of each
    dimension multiplied by the factor ``mean((y - mean)² / var)`` that maximises it: ``(*S,)``."""
    factor = ((mean - y).square() / var).mean(-2)
    return 0.5 * (factor.clamp_min(1e-30).log() + var.log().mean(-2)).sum(-1)


def _variance_factors(mean: Tensor, var: Tensor, y: Tensor) -> Tensor:
    """The factor ``(K,)`` of each dimension's variances ``(m, N, K)`` with which the mixture's
    likelihood of ``y`` is largest, to 5 %."""
    middle, disagreement = _mixture(mean, torch.zeros_like(var))
    squared, own = (y - middle).square(), var.mean(0)
    tried = torch.linspace(-12.0, 12.0, 481).exp()
    total = (factor * own + disagreement for factor in tried)
    losses = torch.stack([(each.log() + squared / each).mean(0) for each in total])
    return tried[losses.argmin(0)]
