from __future__ import annotations

import numpy as np
import pytest
import torch

from imagine_cli.propagation.noise import Noise, TorchNoise, TrajectoryNoise


def drawn(noise: Noise) -> list[torch.Tensor]:
    return [noise.normal(5, 3), noise.shares(7, 3), noise.normal(2)]


def test_a_trajectorys_numbers_depend_on_its_seed_and_number_alone() -> None:
    together = drawn(TrajectoryNoise(3, 0, 6, torch.float64))
    for first, count in ((0, 1), (2, 3), (5, 1)):
        apart = drawn(TrajectoryNoise(3, first, count, torch.float64))
        for a, b in zip(apart, together, strict=True):
            assert torch.equal(a, b[first : first + count])
    other = drawn(TrajectoryNoise(4, 0, 6, torch.float64))
    assert not torch.equal(other[0], together[0])
    assert len(torch.unique(together[0])) == together[0].numel()


def test_they_are_philoxs_own() -> None:
    sequence = np.random.SeedSequence(entropy=9, spawn_key=(2, 4))
    wanted = np.random.Generator(np.random.Philox(sequence)).standard_normal((5, 3))
    assert np.array_equal(TrajectoryNoise(9, 4, 1, torch.float64).normal(5, 3)[0].numpy(), wanted)


def test_torchs_generator_repeats() -> None:
    def numbers(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return drawn(TorchNoise((2, 3), torch.float32))

    first, again, other = numbers(0), numbers(0), numbers(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert [x.shape for x in first] == [(2, 3, 5, 3), (2, 3, 7), (2, 3, 2)]
    assert first[0].dtype == torch.float32


@pytest.mark.parametrize("make", ["torch", "philox"])
def test_shares_are_even_and_uniform_for_each(make: str) -> None:
    torch.manual_seed(0)
    noise: Noise = TorchNoise((4000,), torch.float64)
    if make == "philox":
        noise = TrajectoryNoise(0, 0, 4000, torch.float64)
    found = noise.shares(7, 3)
    counts = torch.nn.functional.one_hot(found, 3).sum(-2)
    assert counts.min() == 2
    assert counts.max() == 3
    # each particle's member is uniform: 4000/3 expected, standard deviation 29.8
    by_particle = torch.nn.functional.one_hot(found, 3).sum(0)
    assert (by_particle - 4000 / 3).abs().max() < 4 * 29.8
    # and no two particles go together: pairs of different ones share a member with probability
    # (2 · C(2,2) + C(3,2)) / C(7,2) = 5/21
    same = (found[:, 0] == found[:, 1]).double().mean()
    assert abs(same - 5 / 21) < 4 * (5 / 21 * 16 / 21 / 4000) ** 0.5
