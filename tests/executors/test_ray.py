"""The conformance of Ray, on two nodes of this machine's loopback: ``nox -s cluster``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import Unavailable
from harness.executors import ray as engine_of_ray
from harness.running.cancelling import cancel
from harness.spec import Ending, Status
from harness.store import EngineJob, Store
from harness.store.leases import process_start
from tests.executors.conformance import Engine, RemoteClaims, process_of, running, store, wait_until
from tests.harness.works import item

__all__ = ["store"]
pytestmark = pytest.mark.cluster
LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else it takes this machine's outward address
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "10",  # a busy machine answers late
}
SMALL = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LOOPBACK.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        found = Cluster(initialize_head=True, head_node_args=SMALL)
        found.add_node(**SMALL)
        found.wait_for_nodes()
        yield found
        found.shutdown()


@pytest.fixture
def engine(cluster: Any, tmp_path: Path) -> Engine:
    path = tmp_path / "engine.yaml"
    path.write_text(f"address: {cluster.address}\ngone_seconds: 2\n")
    return Engine("ray", 2, path, seconds=60.0)


class TestRay(RemoteClaims):
    """Detached actors."""

    def break_set_up(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """The nodes do not share the store."""
        monkeypatch.setattr("harness.executors.jobs.write_job", lambda job: folder / "elsewhere" / "job.json")


def test_a_node_that_is_killed_is_lost_and_its_item_runs_on_the_other(
    cluster: Any, engine: Engine, store: Store
) -> None:
    one = item("sleep", seconds=600)
    added = cluster.add_node(**SMALL, resources={"lost": 1})
    assert engine.options is not None
    asked = engine.options.read_text()
    engine.options.write_text(f"{asked}resources: {{lost: 1}}\n")
    driver = engine.drive([one], store)
    process = running(store, one, engine.seconds)
    other = cluster.add_node(**SMALL, resources={"lost": 1})
    cluster.remove_node(added, allow_graceful=False)
    wait_until(lambda: len(store.attempts("trial", one.id)) == 1, 120.0)
    assert store.attempts("trial", one.id)[0].ending is Ending.NODE_LOST
    wait_until(lambda: process_start(process) is None, engine.seconds)
    wait_until(lambda: process_of(store, one) not in (None, process), engine.seconds)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(60) == 3
    assert len(cancel(store, [one]).jobs) == 1
    wait_until(lambda: store.progress("trial", one.id) is None, engine.seconds)
    cluster.remove_node(other)


def test_an_item_that_no_node_holds_is_refused_before_any_attempt(engine: Engine, store: Store) -> None:
    assert engine.options is not None
    engine.options.write_text(engine.options.read_text() + "cpus: 64\n")
    one = item("add", a=1)
    with pytest.raises(Unavailable, match=r"no node of Ray's cluster .* holds an item. Expected CPU 64 on one"):
        engine.run([one], store)
    assert store.attempts("trial", one.id) == []


def test_a_waiting_actor_of_a_dead_driver_runs_and_a_cancelled_one_never_does(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    holders = [item("sleep", seconds=8, name=f"first {number}", log=str(log)) for number in range(2)]
    later, never = (item("sleep", seconds=0.1, name=name, log=str(log)) for name in ("later", "never"))
    wide = Engine("ray", 4, engine.options, seconds=60.0)
    driver = wide.drive([*holders, later, never], store)
    wait_until(lambda: all(store.entrusted(one) for one in (*holders, later, never)), engine.seconds)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    waiting = [one for one in (later, never, *holders) if process_of(store, one) is None]
    assert waiting, "two places for four items"
    assert len(cancel(store, waiting[:1]).jobs) == 1
    assert wide.run([one for one in (*holders, later, never) if one is not waiting[0]], store).complete
    names = log.read_text().splitlines()
    assert len(names) == 3 and waiting[0].spec["name"] not in names, "each ran once"


def test_a_cluster_that_this_machine_no_longer_has_is_gone_and_one_elsewhere_is_unknown() -> None:
    assert engine_of_ray.alive(EngineJob("ray", "x", "127.0.0.1:9")) is False
    elsewhere = EngineJob("ray", "x", "192.0.2.1:9")  # TEST-NET-1 of RFC 5737
    assert engine_of_ray.alive(elsewhere) is None
    with pytest.raises(Unavailable, match="does not answer"):
        engine_of_ray.cancel(elsewhere)


def test_an_attempt_that_a_ray_driver_left_is_closed_once_nobody_knows_its_actor(engine: Engine, store: Store) -> None:
    one = item("sleep", seconds=60)
    driver = engine.drive([one], store)
    running(store, one, engine.seconds)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(60) == 3
    found = store.entrusted(one)
    assert found is not None and engine_of_ray.alive(found[1]) is True
    engine_of_ray.cancel(found[1])
    wait_until(lambda: engine_of_ray.alive(found[1]) is False, engine.seconds)
    assert Status.OK not in [record.status for record in store.attempts("trial", one.id)]
