"""Which module imports which: never in a circle, and down the layers only.

Imports for typing and inside functions count.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp

# Each may import from its own line, in no circle, and from those below.
LAYERS = (
    "__main__",
    "cli",
    "search evaluation export plots video benchmarks self_test",
    "fitting engines gymnasium_envs",
    "rollout transitions",
    "imagined_env env_rollout policies checkpoint recording inspection",
    "unroll",
    "world_models propagation rewards",
    "belief environments errors files flattening importing interrupts lazy memory mujoco_warnings "
    "observation_names printable progress registry request samples scores seeds threads",
)

# Imports that close a circle today. This list only gets shorter.
CLOSING = ()


def graph(*spared: tuple[str, str]) -> grimp.ImportGraph:
    """All imports but the closing ones; those of ``spared`` are left in."""
    found = grimp.build_graph("imagine_cli", cache_dir=None)
    for importer, imported in set(CLOSING) - set(spared):
        found.remove_import(importer=importer, imported=imported)
    return found


def circle(found: grimp.ImportGraph) -> list[str]:
    """Modules, else packages, each of which imports the one before; empty where there is none."""
    try:
        _sort(found)
        for package in found.find_children("imagine_cli"):
            found.squash_module(package)
        _sort(found)
    except CycleError as error:
        return list(error.args[1])
    return []


def _sort(found: grimp.ImportGraph) -> None:
    imports = {m: found.find_modules_directly_imported_by(m) - {m} for m in found.modules}
    TopologicalSorter(imports).prepare()


def test_there_is_no_circle() -> None:
    assert circle(graph()) == []


def test_every_exception_is_still_needed() -> None:
    for closing in CLOSING:
        assert circle(graph(closing)), f"{closing} closes no circle any more: take it off the list"


def test_imports_go_down_the_layers() -> None:
    found = graph()
    layers = [grimp.Layer(*line.split(), independent=False) for line in LAYERS]
    known = {f"imagine_cli.{name}" for line in LAYERS for name in line.split()}
    assert found.find_children("imagine_cli") <= known
    assert found.find_illegal_dependencies_for_layers(layers, containers={"imagine_cli"}) == set()
    assert found.find_modules_that_directly_import("imagine_cli") <= {"imagine_cli.cli.app"}
