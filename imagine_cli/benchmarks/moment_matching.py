"""One moment-matching step, forward and backward: ours, torchrl's GPWorldModel, and the floor.

The floor is ``exp`` of D (D + 1) / 2 · n² float64 numbers for each belief: what any way of
computing Eq. 22 of PILCO's paper has to do at least once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.modules.models.gp import GPWorldModel

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.benchmarks.table import Bench, Row
from imagine_cli.benchmarks.timing import Work
from imagine_cli.world_models import GaussianProcessWorldModel

_SIZE, _ACTIONS = 3, 1
# torchrl's model makes arrays of B D² n² (D + F) numbers, about four of them at once.
_LARGEST = 8e9


def random_gp(n: int, size: int = _SIZE, actions: int = _ACTIONS) -> GaussianProcessWorldModel:
    """A GP on n random points, with sines of their sums as targets."""
    kwargs: dict[str, Any] = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
    inputs = torch.randn(n, size + actions, **kwargs)
    return GaussianProcessWorldModel.from_hyperparameters(
        inputs,
        0.5 * torch.sin(inputs @ torch.randn(size + actions, size, **kwargs)),
        1.0 + torch.rand(size, size + actions, **kwargs),
        0.5 + torch.rand(size, **kwargs),
        1e-3 + 1e-2 * torch.rand(size, **kwargs),
    )


def gp_for(
    n: int, bench: Bench, size: int = _SIZE, actions: int = _ACTIONS
) -> GaussianProcessWorldModel:
    """:func:`random_gp` where and as it is measured."""
    model: GaussianProcessWorldModel = random_gp(n, size, actions).to(bench.device)
    if bench.compiled:
        model.compile()
    return model


def torchrls(ours: GaussianProcessWorldModel) -> Any:
    """torchrl's model with the same data and hyperparameters."""
    size = ours.observation_size
    theirs = GPWorldModel(size, ours.action_size)
    theirs.X_tilde_train, theirs.ell = ours.inputs, ours.lengthscales
    theirs.alpha_sq, theirs.sigma_sq_eps = ours.signal_variances[:, None], ours.noise_variances
    scaled = ours.inputs / ours.lengthscales[:, None]
    gram = ours.signal_variances[:, None, None] * torch.exp(
        -0.5 * torch.cdist(scaled, scaled).square()
    )
    gram.diagonal(dim1=-2, dim2=-1).add_(ours.noise_variances[:, None])
    root = torch.linalg.cholesky(gram)
    theirs._cached_inv_K_noisy = torch.cholesky_inverse(root)
    theirs._cached_beta = torch.cholesky_solve(ours.targets.mT.unsqueeze(-1), root).squeeze(-1)
    return theirs


def beliefs(model: GaussianProcessWorldModel, batch: int) -> TensorDictBase:
    """``batch`` times a belief amid the data, as both models take it."""
    size, actions = model.observation_size, model.action_size
    like: dict[str, Any] = {"dtype": torch.float64, "device": model.inputs.device}
    mean = model.inputs.mean(0).expand(batch, -1).contiguous()
    var = 0.1 * torch.eye(size, **like).expand(batch, size, size).contiguous()
    action = {
        "mean": mean[:, size:].contiguous(),
        "var": torch.zeros(batch, actions, actions, **like),
        "cross_covariance": torch.zeros(batch, size, actions, **like),
    }
    observation = {"mean": mean[:, :size].contiguous(), "var": var}
    return TensorDict({"observation": observation, "action": action}, [batch])


def forward(bench: Bench) -> Iterator[Row]:
    """Steps without gradients."""
    for n in (100, 200) if bench.quick else (100, 200, 500, 1000):
        ours = gp_for(n, bench)
        theirs = torchrls(ours)
        for batch in (1, 8) if bench.quick else (1, 8, 32):
            with torch.no_grad():
                yield _step(bench, ours, theirs, batch)


def _step(bench: Bench, ours: GaussianProcessWorldModel, theirs: Any, batch: int) -> Row:
    n, td = len(ours.inputs), beliefs(ours, batch)
    belief = Belief(td["observation", "mean"], td["observation", "var"])
    action = ActionBelief(td["action", "mean"])
    exponents = torch.linspace(
        -3, 0, _SIZE * (_SIZE + 1) // 2 * n * n, dtype=torch.float64, device=bench.device
    ).repeat(batch)
    out = torch.empty_like(exponents)
    fits_into_memory = batch * _SIZE**2 * n**2 * (_SIZE + _ACTIONS) * 8 * 4 < _LARGEST
    return bench.row(
        "moment-matching",
        f"a step, n={n}, B={batch}",
        lambda: ours.predict(belief, action),
        {"torchrl": lambda: theirs.uncertain_forward(td.clone())} if fits_into_memory else {},
        {"exp": lambda: torch.exp(exponents, out=out)},
    )


def gradient(bench: Bench) -> Iterator[Row]:
    """Forward and backward at B=1, through the TensorDict modules."""
    for n in (100, 200) if bench.quick else (100, 200, 500):
        ours = gp_for(n, bench)
        td = beliefs(ours, 1)

        def work(step: Any, td: TensorDictBase = td) -> Work:
            def forward_and_backward() -> None:
                mean = td["observation", "mean"].clone().requires_grad_()
                fresh = td.clone()
                fresh["observation", "mean"] = mean
                result = step(fresh)["next", "observation"]
                (result["mean"].sum() + result["var"].sum()).backward()

            return forward_and_backward

        peers = {"torchrl": work(torchrls(ours).uncertain_forward)}
        yield bench.row("gradient", f"a step and its gradient, n={n}, B=1", work(ours), peers)
