"""torchrl's RSSM, trained on a real env, exported, imagined and held against the real env."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torchrl.data import Bounded
from torchrl.modules import RSSMPosterior, RSSMPrior, RSSMRollout

from imagine_cli import evaluate_model, export_latent_world_model, open_rollout, run_rollout

BELIEF, STATE, HIDDEN, CODE, STEPS = 64, 6, 64, 32, 6


class RSSM(torch.nn.Module):
    """An RSSM whose latent state is belief and stochastic state side by side."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_dim": HIDDEN, "rnn_hidden_dim": BELIEF, "state_dim": STATE}
        self.prior = RSSMPrior(Bounded(-2, 2, (1,)), **sizes, action_dim=1, scale_lb=0.01)
        self.posterior = RSSMPosterior(**sizes, obs_embed_dim=CODE, scale_lb=0.01)
        self.embed = mlp(3, CODE)
        self.decoder = mlp(BELIEF + STATE, 6)

    def decode(self, belief: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variances of the observation."""
        mean, spread = self.decoder(torch.cat([belief, state], dim=-1)).chunk(2, -1)
        return mean * SCALE, (torch.nn.functional.softplus(spread) * SCALE).square() + 1e-6

    def begin(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        belief = torch.zeros_like(observation[:, :1]).expand(-1, BELIEF)
        return belief, self.posterior(belief, self.embed(observation / SCALE), noise)[2]

    def loss(self, observation: Tensor, action: Tensor) -> Tensor:
        """Less the evidence's lower bound, of windows ``(N, T+1, 3)`` and ``(N, T, 1)``."""
        belief, state = self.begin(observation[:, 0], torch.randn(len(action), STATE))
        steps = action.shape[1]
        after = TensorDict(
            {"encoded_latents": self.embed(observation[:, 1:] / SCALE)}, action.shape[:2]
        )
        window = TensorDict({
            "belief": belief[:, None].expand(-1, steps, -1), "action": action,
            "state": state[:, None].expand(-1, steps, -1), "next": after,
        }, action.shape[:2])  # fmt: skip
        out = self.rollout()(window)["next"]
        mean, var = self.decode(out["belief"], out["state"])
        fit = Normal(mean, var.sqrt()).log_prob(observation[:, 1:]).sum(-1)
        q, p = (Normal(out[f"{of}_mean"], out[f"{of}_std"]) for of in ("posterior", "prior"))
        first = Normal(*self.decode(belief, state)).log_prob(observation[:, 0]).sum(-1)
        return (kl_divergence(q, p).sum(-1) - fit).mean() - first.mean() / steps

    def rollout(self) -> RSSMRollout:
        said = [("next", f"prior_{part}") for part in ("mean", "std")]
        prior = TensorDictModule(
            self.prior, ["state", "belief", "action"], [*said, "_", ("next", "belief")]
        )
        posterior = TensorDictModule(
            self.posterior, [("next", "belief"), ("next", "encoded_latents")],
            [("next", "posterior_mean"), ("next", "posterior_std"), ("next", "state")],
        )  # fmt: skip
        return RSSMRollout(prior, posterior)


SCALE = torch.tensor([1.0, 1.0, 8.0])


def mlp(size: int, outputs: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(size, HIDDEN), torch.nn.ELU(), torch.nn.Linear(HIDDEN, outputs)
    )


class Encode(torch.nn.Module):
    def __init__(self, model: RSSM) -> None:
        super().__init__()
        self.model = model

    def forward(self, observation: Tensor, noise: Tensor) -> Tensor:
        return torch.cat(self.model.begin(observation, noise), dim=-1)


class Step(Encode):
    def forward(self, latent: Tensor, action: Tensor, noise: Tensor) -> Tensor:
        belief, state = latent[:, :BELIEF], latent[:, BELIEF:]
        _, _, state, belief = self.model.prior(state, belief, action, noise)
        return torch.cat([belief, state], dim=-1)


class Decode(Encode):
    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.decode(latent[:, :BELIEF], latent[:, BELIEF:])


def windows(episodes: int, steps: int) -> tuple[Tensor, Tensor]:
    """Of random runs: observations ``(N, STEPS + 1, 3)`` and actions ``(N, STEPS, 1)``."""
    env = gymnasium.make("Pendulum-v1")
    env.action_space.seed(0)
    xs, us = np.zeros((episodes, steps + 1, 3), np.float32), np.zeros((episodes, steps, 1))
    for episode in range(episodes):
        xs[episode, 0] = env.reset(seed=1000 + episode)[0]
        for k in range(steps):
            us[episode, k] = env.action_space.sample()
            xs[episode, k + 1] = env.step(us[episode, k])[0]
    x = torch.tensor(xs).unfold(1, STEPS + 1, 1).flatten(0, 1).mT
    return x, torch.tensor(us, dtype=torch.float32).unfold(1, STEPS, 1).flatten(0, 1).mT


def trained(iterations: int = 500) -> RSSM:
    torch.manual_seed(0)
    x, u = windows(40, 100)
    model = RSSM()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    for _ in range(iterations):
        rows = torch.randint(len(u), (100,))
        optimiser.zero_grad()
        model.loss(x[rows], u[rows]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        schedule.step()
    return model


@torch.no_grad()
def sampled(model: RSSM, start: Tensor, actions: Tensor, count: int) -> Tensor:
    """Observations ``(count, T, 3)``, by torchrl's modules themselves."""
    belief, state = model.begin(start.expand(count, 3), torch.randn(count, STATE))
    seen = []
    for u in actions:
        _, _, state, belief = model.prior(state, belief, u.expand(count, 1))
        mean, var = model.decode(belief, state)
        seen.append(mean + var.sqrt() * torch.randn_like(mean))
    return torch.stack(seen, 1)


@pytest.mark.long
def test_it_imagines_what_the_real_env_does(tmp_path: Path) -> None:
    model, path, count = trained(), tmp_path / "rssm.pt2", 4000
    export_latent_world_model(
        Encode(model), Step(model), Decode(model), path, env="Pendulum-v1", noise_size=STATE
    )
    run_rollout(model=path, steps=10, particles=count, output=tmp_path / "r.h5")
    with open_rollout(tmp_path / "r.h5") as rollout:
        mean, var, action = (
            torch.tensor(rollout.numbers(name)[0])
            for name in ("observation/mean", "observation/var", "action/mean")
        )
    seen = sampled(model, mean[0], action, count)
    sd = seen.std(0)
    assert (mean[1:] - seen.mean(0)).abs().lt(5.0 * sd * (2.0 / count) ** 0.5).all()
    # Samples of tails that are heavier than a Gaussian's.
    assert (var[1:].diagonal(dim1=1, dim2=2).sqrt() / sd - 1.0).abs().lt(0.15).all()

    (report,) = evaluate_model(path, steps=20, trajectories=40).models
    assert (report.kind, report.propagation) == ("latent", "particles(particles=100)")
    skill = {name: found.overall for name, found in report.against.items()}
    assert skill["no change"].min() > 0.4
    assert skill["linear-Gaussian"][2:].min() > 0.3
