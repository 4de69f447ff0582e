"""What the fitting of a kind of world model answers: one file each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

from imagine_cli.errors import InputError, MissingExtraError
from imagine_cli.fitting.split import Split
from imagine_cli.progress import Progress
from imagine_cli.world_models.base import WorldModel


class Fit(NamedTuple):
    """What fitting a kind gives: the model, and plain data for the checkpoint's metadata."""

    model: WorldModel
    summary: dict[str, Any]


class Option(NamedTuple):
    """A number that the fitting of a kind takes.

    Attributes:
        default: what it is where nobody says.
        least: what it may not be below.
        within: the option that it may not be above.
    """

    default: int
    least: int = 1
    within: str | None = None


class Kind(Protocol):
    """What the module of a kind has.

    Attributes:
        OPTIONS: what its ``fit`` takes beside what all take, by name.
        MODELS_REWARD: whether it can model the reward.
        LIBRARIES: that its ``fit`` needs, of the extra "fit".
    """

    OPTIONS: Mapping[str, Option]
    MODELS_REWARD: bool
    LIBRARIES: tuple[str, ...]

    def fit(
        self, data: Split, *, reward: bool, seed: int, progress: Progress, **options: int
    ) -> Fit:
        """Fit to ``data.training``, calibrate on ``data.calibration``, leave the rest alone."""


def settle(kind: str, how: Kind, reward: bool, given: Mapping[str, int]) -> dict[str, int]:
    """Every option of a kind: those given, the others at their defaults.

    Raises:
        InputError: a kind, or an option of it, that can't be fitted so.
        MissingExtraError: a library it needs is not installed.
    """
    unknown = sorted(set(given) - set(how.OPTIONS))
    if unknown:
        raise InputError(
            f"{unknown[0]} is no option of the kind {kind!r}; it takes "
            f"{', '.join(how.OPTIONS) or 'none of its own'}"
        )
    if reward and not how.MODELS_REWARD:
        raise InputError(
            f"a world model of kind {kind!r} has no reward; leave out --reward, or give --kind "
            "linear or ensemble"
        )
    options = {name: given.get(name, option.default) for name, option in how.OPTIONS.items()}
    for name, value in options.items():
        _, least, within = how.OPTIONS[name]
        if value < least:
            raise InputError(f"{name} must be {least} or more, not {value}")
        if within is not None and value > options[within]:
            raise InputError(
                f"{name} must be {options[within]} or less, as many as there are {within}"
            )
    for library in how.LIBRARIES:
        if find_spec(library) is None:
            raise MissingExtraError(library, "fit")
    return options
