"""The engine ``ray``: workers are tasks of a Ray cluster, started here or found at an address."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from imagine_cli.engines.pooled import Pool, PooledEngine, WorkerLostError
from imagine_cli.engines.worker import Work, check, run_task, work_on
from imagine_cli.errors import ImagineError, InputError, require

# Of the object store of a cluster that is started here, which holds no arrays: Ray's least.
_OBJECT_STORE = 80 * 2**20

# Seconds that an address has to answer in.
_PATIENCE = 5.0

# What a client of HTTP/2, as gRPC is, begins with; the server's first frame is of type 4 too.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@dataclass(frozen=True)
class RayEngine(PooledEngine):
    """Tasks of one core each. All nodes must share the folders of the output and of the command.

    Attributes:
        address: of the cluster, as ``ray.init`` takes it: ``"auto"``, ``"ray://host:10001"``,
            ``"host:6379"``; one is started on this machine if None.
        gpus_per_worker: of a task, also a part of one.
    """

    address: str | None = None
    gpus_per_worker: float = 0.0

    @contextmanager
    def pool(self, work: Work | None) -> Iterator[Pool]:
        require("ray", "ray")
        import ray

        with _connected(self.address, self.workers):
            nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]
            if not nodes:
                raise InputError("no node of the Ray cluster offers a core")
            cores = sum(int(node["Resources"]["CPU"]) for node in nodes)
            pool = _Tasks(self.workers or cores, self.gpus_per_worker)
            if work is not None:
                pool.check(work, [node["NodeID"] for node in nodes])
            try:
                yield pool
            finally:
                pool.end()


class _Tasks(Pool):
    """Ray's tasks; what many of them have is put in its object store once."""

    def __init__(self, size: int, gpus: float) -> None:
        import ray

        # What a lost task means is decided by whoever gave it, not by Ray.
        once = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)
        self._remote = {function: once(function) for function in (work_on, check, run_task)}
        self.size = size
        self._running: dict[Future[Any], Any] = {}

    def check(self, work: Work, nodes: list[str]) -> None:
        """Have a worker of each node load everything. Raises what the first one says."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asked = [
            self._remote[check]
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            .remote(work)
            for node in nodes
        ]
        for node, answer in zip(nodes, asked, strict=True):
            try:
                found = ray.get(answer)
            except Exception as error:  # whatever an import may raise there
                raise InputError(
                    f"the Ray node {node[:8]} can't imagine: {_last_line(error)}; it needs this "
                    "version of imagine-cli with what the model needs"
                ) from error
            if found is not None:
                raise found

    def put(self, what: Any) -> Any:
        import ray

        return ray.put(what)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        task = self._remote[function].remote(*arguments)
        future: Future[Any] = task.future()
        self._running[future] = task
        return future

    def result(self, future: Future[Any]) -> Any:
        import ray.exceptions as lost

        del self._running[future]
        try:
            return future.result()
        except lost.RayTaskError as error:
            raise ImagineError(f"a worker failed: {_last_line(error)}") from error
        except lost.RayError as error:
            raise WorkerLostError(f" ({type(error).__name__})") from error

    def end(self) -> None:
        """Kill what still runs, where the cluster stays."""
        import ray

        for task in self._running.values():
            ray.cancel(task, force=True)


@contextmanager
def _connected(address: str | None, workers: int | None) -> Iterator[None]:
    """A cluster that is there already in this process stays. Raises InputError."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local", "num_cpus": workers, "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
        }  # fmt: skip
    else:
        _check_answers(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError, ...
        raise InputError(
            f"no Ray cluster answers at --address {address}: {_last_line(error)}"
        ) from error
    with redirect_stdout(sys.stderr):  # where Ray tells of nodes that died; stdout is ours
        try:
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():  # Ray has put its own there
                    signal.signal(number, handler)
            yield
        finally:
            ray.shutdown()


def _check_answers(address: str) -> None:
    """InputError where no gRPC server is there, which Ray finds out in minutes, or dies of."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():  # auto, or what Ray says more of
        return
    try:
        with socket.create_connection((host, int(port)), _PATIENCE) as connection:
            connection.sendall(_HELLO)
            answer = connection.recv(4)
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray cluster answers at --address {address}: {error}") from error
    if answer[3:] != b"\x04" and os.environ.get("RAY_USE_TLS", "0") == "0":
        raise InputError(f"what answers at --address {address} is no Ray cluster")


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
