from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from importlib.metadata import EntryPoint

import pytest

from imagine_cli import registry
from imagine_cli.errors import InputError
from imagine_cli.propagation import make_propagation
from imagine_cli.propagation.base import Propagation
from imagine_cli.propagation.moments import Moments
from imagine_cli.registry import PROPAGATIONS, REWARDS, WORLD_MODELS, Registry, resolve
from tests.helpers.worlds import small_gp

TABLES = [table for table in vars(registry).values() if isinstance(table, Registry)]


class Outsider(Moments):
    name = "outsider"


@pytest.fixture
def outsiders(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = (
        EntryPoint("outsider", f"{__name__}:Outsider", "imagine_cli.propagations"),
        EntryPoint("moments", f"{__name__}:Outsider", "imagine_cli.propagations"),
        EntryPoint("broken", "no_such_module_anywhere", "imagine_cli.world_models"),
    )
    monkeypatch.setattr(
        metadata, "entry_points", lambda *, group: [one for one in offered if one.group == group]
    )


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.group)
def test_every_line_leads_somewhere(table: Registry) -> None:
    for name in table.own:
        assert table.load(name) is not None
    with pytest.raises(InputError, match=r"^no .*'nothing'.*; there is "):
        table.load("nothing")


def test_groups_are_told_apart() -> None:
    assert len({table.group for table in TABLES}) == len(TABLES) > 5


@pytest.mark.usefixtures("outsiders")
def test_another_package_adds_a_propagation_and_replaces_none() -> None:
    assert [*PROPAGATIONS][-1] == "outsider"
    assert PROPAGATIONS.load("moments") is Moments
    made: Propagation = make_propagation("outsider", small_gp(2, 1))
    assert isinstance(made, Outsider)
    with pytest.raises(InputError, match="particles, module, outsider$"):
        make_propagation("magic", small_gp(2, 1))


@pytest.mark.usefixtures("outsiders")
def test_what_can_not_be_imported_is_a_sentence() -> None:
    sentence = "kind of world model 'broken' of no_such_module_anywhere can't be imported: Module"
    with pytest.raises(InputError, match=sentence):
        WORLD_MODELS.load("broken")


def test_an_empty_table_says_so() -> None:
    with pytest.raises(InputError, match="no reward 'r'; there is none yet"):
        Registry("nobody", REWARDS.noun, {}).load("r")


def test_a_module_resolves_too() -> None:
    assert resolve("imagine_cli.registry") is registry
    assert resolve("imagine_cli.registry:Registry") is Registry


def test_nothing_is_imported_before_it_is_used() -> None:
    code = "import imagine_cli.registry, sys; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
