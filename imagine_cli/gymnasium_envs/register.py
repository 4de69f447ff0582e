"""``imagine_cli:Imagined-v0`` in Gymnasium's registry, without importing Gymnasium.

Gymnasium looks the id up after it has imported ``imagine_cli``, which may have been imported long
before Gymnasium itself. So whichever of the two comes last registers.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

ID = "Imagined-v0"


def register_with_gymnasium() -> None:
    """Register now where Gymnasium is imported, else as soon as it is."""
    if "gymnasium" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterImport)


def _register() -> None:
    import gymnasium

    if ID not in gymnasium.registry:
        envs = "imagine_cli.gymnasium_envs.envs"
        gymnasium.register(ID, f"{envs}:SampledEnv", vector_entry_point=f"{envs}:SampledVectorEnv")


class _AfterImport:
    """Finds Gymnasium as it is found without this, and registers when it has loaded."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "gymnasium":
            return None
        from importlib.util import find_spec

        place = sys.meta_path.index(cls)
        sys.meta_path.remove(cls)
        try:
            spec = find_spec(name)
        finally:  # it stays until Gymnasium is loaded: who looks for a module may not import it
            sys.meta_path.insert(place, cls)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            sys.meta_path.remove(cls)
            load(module)
            _register()

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec
