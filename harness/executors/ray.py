"""Ray: each item is an actor of its own, in a process of its own.

An actor and not a task: a task ends with the driver that asked for it, a detached actor does not. Its work is done in
its constructor, which Ray carries out whether or not that driver still lives; the constructor always raises, so that
the process ends and what it held is free. Ray starts neither again (``max_restarts=0``): the store's attempts do.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.environment import Device, remote_slots
from harness.errors import DiraBenchError, Unavailable
from harness.executors import jobs
from harness.executors.interface import Ended, Executor, Handle, Job
from harness.executors.options import EngineOptions
from harness.spec import Ending, Frozen
from harness.store import EngineJob

NAME = "ray"
NAMESPACE = "dira-bench"
CONNECT_SECONDS = 3.0  # within which a machine that is there answers
CLOSE_SECONDS = 20.0  # how long the end of killed actors is waited for
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}


class RayOptions(Frozen):
    """What ``--engine-options`` says to Ray, for every item alike.

    Attributes:
        address: Of a running cluster, ``HOST:PORT``; ``auto`` is the one that this machine belongs to.
        cpus: Processors of an item.
        gpus: GPUs of an item under ``--device cuda``; 0.5 puts two items on one.
        resources: Any other resource of the cluster.
        gone_seconds: How long a record may take to be seen here after its process is gone: other machines see a shared
            folder late.
    """

    address: str = "auto"
    cpus: float = Field(1.0, ge=0)
    gpus: float = Field(1.0, gt=0)
    resources: dict[str, float] = Field(default_factory=dict)
    gone_seconds: float = Field(60.0, ge=0)


class Over(Exception):
    """How a child ended, carried out of its actor."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"<{code}|{message}>")


class Child:
    """The actor of one item."""

    def __init__(self, path: str) -> None:
        """Run the job in a file, to its end.

        Raises:
            Over: Always.
        """
        from harness.executors.child import run_file

        raise Over(*run_file(Path(path)))

    def ended(self) -> None:
        """Wait for the constructor."""


@dataclass
class RayHandle:
    """An item whose actor waits for a place or runs.

    Attributes:
        job: The item.
        id: The actor's name.
        actor, end: Ray's handle of it, and the call that returns, with an error, once it has ended.
    """

    job: Job
    id: str
    actor: Any
    end: Any


class RayExecutor(Executor):
    """Runs items as actors of a cluster that runs already."""

    name = NAME
    remote = True

    def __init__(self, count: int | None, device: Device, options: RayOptions) -> None:
        """See ``start``."""
        _connect(options.address)
        self._cluster = _address()
        self._options = options
        self._running: list[RayHandle] = []
        nodes = _nodes()
        kind: Literal["cpu", "cuda"] = (
            "cuda" if device == "cuda" or (device == "auto" and any(node.get("GPU") for node in nodes)) else "cpu"
        )
        self._wanted = {"CPU": options.cpus, **({"GPU": options.gpus} if kind == "cuda" else {}), **options.resources}
        places = sum(_places(node, self._wanted) for node in nodes)
        if not places:
            raise Unavailable(
                f"no node of Ray's cluster {self._cluster} holds an item. Expected {_list(self._wanted)} on one. "
                f"Found: {'; '.join(_list(node) for node in nodes) or 'no node'}. Fix: start a node that has it, or "
                "ask for less in --engine-options."
            )
        self.slots = remote_slots(count or places, NAME, kind)
        self.settle_seconds = options.gone_seconds

    def submit(self, job: Job) -> RayHandle:
        """Queue a job; Ray starts it where there is room."""
        import ray

        path = jobs.write_job(job)
        name = uuid.uuid4().hex
        others = {key: value for key, value in self._wanted.items() if key not in ("CPU", "GPU")}
        kind = ray.remote(Child)
        actor = kind.options(
            name=name, namespace=NAMESPACE, lifetime="detached", max_restarts=0, max_task_retries=0,
            num_cpus=self._wanted["CPU"], num_gpus=self._wanted.get("GPU", 0), resources=others or None,
            runtime_env={"env_vars": jobs.environment(job)},
        ).remote(str(path))  # fmt: skip
        handle = RayHandle(job, name, actor, actor.ended.remote())
        self._running.append(handle)
        return handle

    def reference(self, handle: Handle) -> EngineJob | None:
        """Return the name of an actor."""
        return EngineJob(NAME, handle.id, self._cluster) if isinstance(handle, RayHandle) else None

    def adopt(self, job: Job, reference: EngineJob) -> RayHandle | None:
        """Watch an actor that an earlier driver started; None if it is over, or another cluster's."""
        if reference.engine != NAME or reference.cluster != self._cluster:
            return None
        actor = _actor(reference.id)
        if actor is None:
            return None
        self._running.append(RayHandle(job, reference.id, actor, actor.ended.remote()))
        return self._running[-1]

    def wait(self, timeout: float) -> list[tuple[Handle, Ended]]:
        """Wait up to ``timeout`` seconds and return the jobs that have ended since the last call."""
        import ray

        if not self._running:
            time.sleep(timeout)
            return []
        ready, _ = ray.wait([handle.end for handle in self._running], num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait([handle.end for handle in self._running], num_returns=len(self._running), timeout=0)
        over = [handle for handle in self._running if handle.end in ready]
        self._running = [handle for handle in self._running if handle not in over]
        return [(handle, _ended(handle)) for handle in over]

    def stop(self, handle: Handle, grace: float) -> None:
        """End an actor at once, also one that waits for a place: Ray has no gentler way that a work would hear."""
        if isinstance(handle, RayHandle):
            _kill(handle.actor)

    def detach(self) -> None:
        """Let go of every job."""
        self._running = []

    def close(self) -> None:
        """End every actor that is left, and leave the cluster."""
        import ray

        for handle in self._running:
            _kill(handle.actor)
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._running and time.monotonic() < deadline:
            self.wait(0.2)
        ray.shutdown()


def start(slots: int | None, device: Device, preload: Sequence[str], options: EngineOptions) -> RayExecutor:
    """Make the executor (``harness.executors.factory``).

    Args:
        slots: How many items are queued or run at a time; as many as the cluster has places for if nothing is said.
        device: ``auto`` is a GPU if the cluster has one.
        preload: Not used: a job names what it imports.
        options: See ``RayOptions``.

    Raises:
        ConfigurationError: If the options are not those.
        Unavailable: If Ray is not here, no cluster answers, or none of its nodes is large enough.
    """
    said = options.read(RayOptions)
    if importlib.util.find_spec("ray") is None:
        raise Unavailable('engine ray needs Ray. Fix: python -m pip install "dira-bench[ray]".')
    return RayExecutor(slots, device, said)


def alive(job: EngineJob) -> bool | None:
    """Say whether an actor waits or runs; None if its cluster cannot be asked from here."""
    if importlib.util.find_spec("ray") is None:
        return None
    try:
        with _at(job.cluster):
            return _actor(job.id) is not None
    except ConnectionRefusedError:  # a firewall may refuse for another machine, which says nothing of its cluster
        return False if _is_here(job.cluster) else None
    except (DiraBenchError, OSError):
        return None


def cancel(job: EngineJob) -> None:
    """End an actor, waiting or running.

    Raises:
        Unavailable: If its cluster cannot be told from here.
    """
    try:
        with _at(job.cluster):
            actor = _actor(job.id)
            if actor is not None:
                _kill(actor)
    except OSError as error:
        if isinstance(error, ConnectionRefusedError) and _is_here(job.cluster):
            return  # its cluster is gone, and it with it
        raise Unavailable(
            f"cannot cancel job {job.id}: Ray's cluster {job.cluster} does not answer ({error})."
        ) from None


def _ended(handle: RayHandle) -> Ended:
    """Say how an item ended, from what Ray says of its actor's death."""
    import ray

    try:
        ray.get(handle.end)
    except ray.exceptions.OutOfMemoryError as error:
        return Ended(None, _first(str(error)), Ending.OUT_OF_MEMORY)
    except ray.exceptions.RayError as error:
        return read_death(str(error))
    return Ended(None, "its actor came to no end", Ending.EXIT)


def read_death(text: str) -> Ended:
    """Read Ray's account of an actor that ended.

    Nothing but text says why: its errors have one type for a work that ended, one that was killed, and a lost node.
    """
    own = re.search(r"Over: <(-?\d+)\|(.*)>", text, re.DOTALL)
    if own is not None:
        return Ended(int(own[1]), own[2])
    last = [line.strip() for line in text.splitlines() if line.strip()][-1:]
    if "its node has died" in text or "node was terminated" in text:
        return Ended(None, "", Ending.NODE_LOST)
    if "low on memory" in text:
        return Ended(None, _first(text), Ending.OUT_OF_MEMORY)
    if "error raised in its creation task" in text or "runtime_env" in text or "unschedulable" in text:
        return Ended(None, "".join(last)[:400], Ending.NOT_STARTED)
    if "killed by `ray.kill`" in text:
        return Ended(None, "it was ended by ray.kill", Ending.SIGNAL)
    return Ended(None, "Ray found its process dead", Ending.GONE)


def _connect(address: str) -> None:
    """Join a cluster.

    Raises:
        Unavailable: If none answers.
    """
    import ray

    if ray.is_initialized():
        return
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise Unavailable(
            f"found no Ray cluster at {address} ({_first(str(error))}). Expected one that runs. Fix: "
            '"ray start --head" on one machine, "ray start --address HOST:PORT" on the others '
            "(docs/engines.md#ray)."
        ) from error


@contextlib.contextmanager
def _at(address: str) -> Iterator[None]:
    """Be in a cluster for a while.

    Raises:
        OSError: If its machine does not answer.
        Unavailable: If it cannot be joined, or this process is in another one.
    """
    import ray

    ours = not ray.is_initialized()
    if ours:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()  # Ray itself would wait for minutes
        _connect(address)
    elif _address() != address:
        raise Unavailable(f"found Ray's cluster {address} beside {_address()}, to which this command belongs.")
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


def _is_here(address: str) -> bool:
    """Say whether an address is of this machine."""
    host = address.rpartition(":")[0]
    with contextlib.suppress(OSError):
        return host.startswith("127.") or host in socket.gethostbyname_ex(socket.gethostname())[2]
    return False


def _address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


def _nodes() -> list[dict[str, float]]:
    """Return what each node that lives has."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _places(node: dict[str, float], wanted: dict[str, float]) -> int:
    """Return how many items a node holds at a time."""
    asked = {name: amount for name, amount in wanted.items() if amount}
    return min((int(node.get(name, 0.0) / amount) for name, amount in asked.items()), default=1)


def _actor(name: str) -> Any:
    """Return an actor that waits or runs, or None."""
    import ray

    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None


def _kill(actor: Any) -> None:
    import ray

    with contextlib.suppress(ray.exceptions.RayError, ValueError):
        ray.kill(actor, no_restart=True)


def _list(resources: dict[str, float]) -> str:
    shown = {
        name: amount for name, amount in resources.items() if not name.startswith(("node:", "object_store", "memory"))
    }
    return ", ".join(f"{name} {amount:g}" for name, amount in sorted(shown.items())) or "nothing"


def _first(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(".")
