"""What a world-model checkpoint holds, version 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagine_cli.registry import WORLD_MODELS

if TYPE_CHECKING:
    from torch import Tensor

    from imagine_cli.world_models.base import WorldModel

FORMAT = "imagine-world-model"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """One world model as plain data.

    Attributes:
        kind: a name of :func:`imagine_cli.world_models.kinds`.
        config: numbers, strings and lists that with ``state_dict`` make the model.
        state_dict: its tensors.
        env: ``id``, ``kwargs``, ``observation_names`` and ``observation_low``/``high`` of the env
            it is of; empty where the file does not say.
        metadata: how it was fitted, on what, with which scores.
        source: the library whose file it is; ours, or another's that is read as it is.
    """

    kind: str
    config: dict[str, Any]
    state_dict: dict[str, Tensor]
    env: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    source: str = "imagine"

    def model(self, **changes: Any) -> WorldModel:
        """The world model, with changes to its config. Raises InputError on bad data."""
        from imagine_cli.world_models.model_error import PREFIX, ModelError

        kind: type[WorldModel] = WORLD_MODELS.load(self.kind)
        own = {k: v for k, v in self.state_dict.items() if not k.startswith(PREFIX)}
        error = {k.removeprefix(PREFIX): self.state_dict[k] for k in self.state_dict.keys() - own}
        model = kind.from_config({**self.config, **changes}, own)
        if error:
            model.model_error = ModelError.from_state(error, model.observation_size)
        return model
