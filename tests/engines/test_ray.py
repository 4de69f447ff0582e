"""The engine ``ray``, on a cluster of its own and on one of two nodes that loses one of them."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from imagine_cli.engines.ray import RayEngine
from imagine_cli.errors import InputError, MissingExtraError
from imagine_cli.rollout.engine import EngineProgress
from tests.helpers.pooled_rollouts import ROOT, folder, roll

assert folder


@pytest.fixture
def tests_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for the workers of a cluster that is begun after it."""
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", ROOT)


@pytest.mark.long
@pytest.mark.usefixtures("tests_are_there")
def test_the_bytes_of_local_after_a_crash(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    roll("local.h5")
    Path("crash").touch()
    assert roll("r.h5", engine=RayEngine(workers=2)).lost == 1
    assert sorted(os.listdir()) == ["local.h5", "r.h5", "wm.pt"]
    assert Path("r.h5").read_bytes() == Path("local.h5").read_bytes()
    assert capfd.readouterr().out == ""


@pytest.mark.long
@pytest.mark.usefixtures("tests_are_there")
def test_a_cluster_loses_one_of_two_nodes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from ray.cluster_utils import Cluster

    roll("local.h5", trajectories=900)
    Path("slow").write_text("0.03")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        nodes = [cluster.add_node(num_cpus=1)]
        capfd.readouterr()

        def lose() -> None:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            Path("slow").unlink()

        def lose_soon(progress: EngineProgress) -> None:
            if progress.running == len(progress.workers) == 2 and losing.ident is None:
                losing.start()

        losing = threading.Timer(1.0, lose)  # in which both nodes have tasks that take longer
        engine = RayEngine(address=cluster.address)
        summary = roll("r.h5", engine=engine, on_tally=lose_soon, trajectories=900)
        assert capfd.readouterr().out == ""
    finally:
        cluster.shutdown()
    assert not nodes
    assert summary.lost >= 1
    assert Path("r.h5").read_bytes() == Path("local.h5").read_bytes()


def test_what_answers_is_no_ray(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.handle_request).start()
    with server, pytest.raises(InputError, match="what answers at .* is no Ray cluster"):
        roll("r.h5", engine=RayEngine(address=f"127.0.0.1:{server.server_port}"))
    assert capfd.readouterr().out == ""
    assert os.listdir() == ["wm.pt"]


def test_without_ray(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'imagine-cli\[ray\]'"):
        roll("r.h5", engine="ray")
    assert os.listdir() == ["wm.pt"]
