"""What a rollout was asked for, as its file says it: enough to run it again."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from imagine_cli.files.digest import sha256_of

if TYPE_CHECKING:
    from imagine_cli.propagation import Propagation

__all__ = ["asked_for", "used_files"]


def asked_for(propagation: str | Propagation | None, **arguments: Any) -> str:
    """The arguments of ``run_rollout`` that its numbers depend on, as JSON."""
    if propagation is not None and not isinstance(propagation, str):
        fields = getattr(propagation, "__dataclass_fields__", {})
        arguments.update({name: getattr(propagation, name) for name in fields})
        propagation = propagation.name
    return json.dumps({**arguments, "propagation": propagation}, sort_keys=True, default=str)


def used_files(*specs: str) -> str:
    """The SHA-256 of each of these that is the path of a file, as JSON."""
    return json.dumps({spec: sha256_of(spec) for spec in specs if os.path.isfile(spec)})
