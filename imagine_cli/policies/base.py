"""What every policy answers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from imagine_cli.belief import ActionBelief, Belief

__all__ = ["Policy"]


class Policy(ABC):
    """What acts in an imagined, or a real, env.

    Attributes:
        name: how it was asked for; goes into the rollout file.
        gives_variance: whether every action it gives has a ``var`` (so that the file has room).
    """

    name: str
    gives_variance: bool = False

    def check(self, steps: int, trajectories: int) -> None:  # noqa: B027 (most have no limit)
        """Whether it can act for so many steps and trajectories: InputError where it can't.

        Called once, before any trajectory starts.
        """

    def start(self, first: int, count: int) -> None:  # noqa: B027 (most remember nothing)
        """Trajectories number ``first`` to ``first + count - 1`` begin, as one batch of ``count``.

        What a policy draws at random depends on its seed, the trajectory's number and the step
        alone, never on how trajectories are batched.
        """

    @abstractmethod
    def act(self, step: int, observation: Belief) -> ActionBelief:
        """The action at ``step`` (0, 1, ...) for a belief ``(B, D)``, ``(B, D, D)``: ``(B, F)``.

        Discrete actions are one-hot, in the belief's dtype.
        """
