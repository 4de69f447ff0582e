"""One moment-matching step, forward and backward: ours, torchrl's GPWorldModel, and the floor.

The floor is ``exp`` of D (D + 1) / 2 · n² float64 numbers for each belief: what any way of
computing Eq. 22 has to do at least once. Run it with::

    python tests/benchmarks/bench_moment_matching.py
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from side_by_side import milliseconds
from tensordict import TensorDict
from torchrl.modules.models.gp import GPWorldModel

from imagine_cli.belief import ActionBelief, Belief
from imagine_cli.world_models import GaussianProcessWorldModel


def model(n: int, size: int, actions: int) -> GaussianProcessWorldModel:
    generator = torch.Generator().manual_seed(0)
    kwargs: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    inputs = torch.randn(n, size + actions, **kwargs)
    return GaussianProcessWorldModel.from_hyperparameters(
        inputs,
        0.5 * torch.sin(inputs @ torch.randn(size + actions, size, **kwargs)),
        1.0 + torch.rand(size, size + actions, **kwargs),
        0.5 + torch.rand(size, **kwargs),
        1e-3 + 1e-2 * torch.rand(size, **kwargs),
    )


def torchrls(ours: GaussianProcessWorldModel) -> GPWorldModel:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    parser.add_argument("--n", type=int, nargs="*", default=[100, 200, 500, 1000])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8, 32])
    options = parser.parse_args()
    size, actions = 3, 1
    print(f"{torch.get_num_threads()} threads, D={size}, F={actions}, float64; medians, ms")
    print(
        "   n   B |   ours  torchrl    exp | torchrl/ours  ours/exp | gradient: ours torchrl ratio"
    )
    for n in options.n:
        ours = model(n, size, actions)
        theirs = torchrls(ours)
        for batch in options.batch:
            mean = torch.zeros(batch, size + actions, dtype=torch.float64)
            mean[:] = ours.inputs.mean(0)
            var = 0.1 * torch.eye(size, dtype=torch.float64).expand(batch, size, size).contiguous()
            observation, action = Belief(mean[:, :size], var), ActionBelief(mean[:, size:])
            td = TensorDict(
                {
                    "observation": {"mean": observation.mean, "var": var},
                    "action": {
                        "mean": action.mean,
                        "var": torch.zeros(batch, actions, actions, dtype=torch.float64),
                        "cross_covariance": torch.zeros(batch, size, actions, dtype=torch.float64),
                    },
                },
                [batch],
            )
            numbers = torch.linspace(-3, 0, size * (size + 1) // 2 * n * n, dtype=torch.float64)
            numbers = numbers.repeat(batch)
            out = torch.empty_like(numbers)
            # torchrl's needs B D² n² (D + F) numbers at once
            feasible = batch * size**2 * n**2 * (size + actions) * 8 * 4 < 8e9

            def forward(observation: Any = observation, action: Any = action) -> None:
                with torch.no_grad():
                    ours.predict(observation, action)  # noqa: B023

            def theirs_forward(td: Any = td) -> None:
                with torch.no_grad():
                    theirs.uncertain_forward(td.clone())  # noqa: B023

            works = {
                "ours": forward,
                "exp": lambda x=numbers, y=out: torch.exp(x, out=y),
            }
            if feasible:
                works["torchrl"] = theirs_forward
            found = milliseconds(works, options.seconds)
            row = f"{n:4d} {batch:3d} | {found['ours']:6.2f} "
            peer = found.get("torchrl", float("nan"))
            row += f"{peer:8.1f} {found['exp']:6.2f} | {peer / found['ours']:12.1f} "
            row += f"{found['ours'] / found['exp']:9.2f} |"
            if feasible and batch == 1:
                row += gradients(ours, theirs, td, options.seconds)
            print(row, flush=True)


def gradients(ours: Any, theirs: Any, td: Any, seconds: float) -> str:
    def both(step: Any) -> None:
        mean = td["observation", "mean"].clone().requires_grad_()
        fresh = td.clone()
        fresh["observation", "mean"] = mean
        result = step(fresh)["next", "observation"]
        (result["mean"].sum() + result["var"].sum()).backward()

    found = milliseconds(
        {"ours": lambda: both(ours), "torchrl": lambda: both(theirs.uncertain_forward)}, seconds
    )
    ratio = found["torchrl"] / found["ours"]
    return f"          {found['ours']:6.2f} {found['torchrl']:8.1f} {ratio:6.1f}"


if __name__ == "__main__":
    main()
