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
    """Finds Gymnasium as it is found without this, and registers when that was loaded."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "gymnasium":
            return None
        others = (finder for finder in list(sys.meta_path) if finder is not cls)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            if cls in sys.meta_path:  # many look for it before it is loaded
                sys.meta_path.remove(cls)
            _register()

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec
