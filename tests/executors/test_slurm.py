"""The conformance of Slurm, on two nodes of this machine's loopback: ``nox -s cluster``."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import Unavailable
from harness.executors import slurm as engine_of_slurm
from harness.running.cancelling import cancel
from harness.spec import Ending, Status
from harness.store import Store
from harness.store.leases import process_start
from tests.executors.conformance import Engine, RemoteClaims, process_of, running, store, wait_until
from tests.executors.slurm_on_loopback import NODES, Cluster, slurm
from tests.harness.works import item

__all__ = ["store"]
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", params=["without accounting", "with accounting"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch, slurm(accounting=request.param == "with accounting") as found:
        patch.setenv("SLURM_CONF", found.environment["SLURM_CONF"])
        patch.setenv("PATH", found.environment["PATH"])
        yield found


@pytest.fixture
def engine(cluster: Cluster, tmp_path: Path) -> Engine:
    return _engine(tmp_path)


def _engine(folder: Path, more: str = "") -> Engine:
    path = folder / "engine.yaml"
    path.write_text(f"minutes: 5\ngone_seconds: 3\npoll_seconds: 0.5\nleave_seconds: 20\n{more}")
    return Engine("slurm", 2, path, seconds=60.0)


class TestSlurm(RemoteClaims):
    """Jobs of a queue."""


def test_after_the_conformance_nothing_is_queued_and_nothing_runs(cluster: Cluster) -> None:
    assert cluster.ask("squeue", "--noheader") == ""


def test_short_trials_share_a_job_and_a_killed_one_takes_no_other_along(
    cluster: Cluster, store: Store, tmp_path: Path
) -> None:
    trials = [item("add", a=number) for number in range(4)]
    once = item("dies", times=1, name="once", log=str(tmp_path / "log"))
    first = item("add", a=9, kind="phase")
    before = cluster.ask("squeue", "--noheader", "--states=all", "--array", "--format", "%i").split()
    summary = _engine(tmp_path, "bundle: 4\n").run([first, once, *trials], store)
    assert summary.complete and summary.attempts == 7
    assert [record.ending for record in store.attempts("trial", once.id)] == [Ending.SIGNAL, None]
    after = cluster.ask("squeue", "--noheader", "--states=all", "--array", "--format", "%i").split()
    assert len(set(after) - set(before)) < summary.attempts, "some shared a job"
    assert not any((store.root / "engines" / "slurm").glob("*.pkl")), "what submitit wrote is gone with its jobs"


@pytest.mark.parametrize("how", ["preempted by a job of a higher tier", "signalled", "requeued by hand"])
def test_an_item_that_slurm_ends_goes_on_from_its_checkpoint(
    cluster: Cluster, engine: Engine, store: Store, how: str
) -> None:
    one = item("leaves", steps=60, seconds=0.1)
    driver = engine.drive([one], store)
    running(store, one, engine.seconds)
    wait_until(lambda: getattr(store.progress("trial", one.id), "done", 0) > 2, engine.seconds)
    ids = cluster.ask("squeue", "--noheader", "--array", "--format", "%i").split()
    if how == "signalled":
        subprocess.run(["scancel", "--signal=USR2", *ids], check=True)
    elif how == "requeued by hand":
        refused = subprocess.run(["scontrol", "requeue", *ids], capture_output=True, text=True, check=False)
        assert refused.returncode != 0, "one process an attempt: it is the driver that queues it again"
        subprocess.run(["scancel", "--signal=TERM", *ids], check=True)
    else:
        words = ["sbatch", "--partition=urgent", "--nodes=2", "--ntasks=2", "--wrap", "sleep 2", "--output=/dev/null"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    assert driver.wait(180) == 0
    first, *_, last = store.attempts("trial", one.id)
    assert (first.status, first.ending) == (Status.INTERRUPTED, Ending.PREEMPTED)
    assert last.values == {"steps": 60.0} and last.facts == {"resumed": True}


def test_a_node_whose_slurmd_is_killed_is_lost_and_its_item_runs_on_the_other(
    cluster: Cluster, engine: Engine, store: Store
) -> None:
    one = item("sleep", seconds=600)
    driver = engine.drive([one], store)
    process = running(store, one, engine.seconds)
    node = cluster.ask("squeue", "--noheader", "--format", "%N").strip()
    cluster.daemons[node].kill()
    cluster.daemons[node].wait()
    try:
        wait_until(lambda: len(store.attempts("trial", one.id)) == 1, 180.0)
        assert store.attempts("trial", one.id)[0].ending is Ending.NODE_LOST
        wait_until(lambda: process_of(store, one) not in (None, process), engine.seconds)
        assert cluster.ask("squeue", "--noheader", "--format", "%N").strip() == ({*NODES} - {node}).pop()
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(60) == 3
        assert len(cancel(store, [one]).jobs) == 1
    finally:
        os.kill(process, signal.SIGKILL)  # without its slurmd nobody ends it
        cluster.start_node(node)
        cluster.ready()


def test_a_time_limit_asks_a_job_to_leave_before_it_comes(cluster: Cluster, store: Store, tmp_path: Path) -> None:
    one = item("leaves", steps=500, seconds=0.1)
    engine = _engine(tmp_path, "sbatch: {time: 1}\n")  # a minute, of which the last twenty seconds are for leaving
    assert engine.run([one], store).complete
    first, *_ = store.attempts("trial", one.id)
    assert first.ending is Ending.PREEMPTED and first.status is Status.INTERRUPTED


@pytest.mark.parametrize(
    ("said", "found"),
    [("partition: nowhere\n", "invalid partition"), ("sbatch: {time: 120, partition: main}\n", "PartitionTimeLimit")],
)
def test_a_job_that_slurm_will_never_start_is_said_once(
    cluster: Cluster, store: Store, tmp_path: Path, said: str, found: str
) -> None:
    items = [item("add", a=number) for number in range(3)]
    with pytest.raises(Unavailable, match=found):
        _engine(tmp_path, said).run(items, store)
    assert sum(len(store.attempts("trial", one.id)) for one in items) == 1
    assert cluster.ask("squeue", "--noheader") == ""


def test_a_job_is_cancelled_by_anybody_who_finds_its_claim(cluster: Cluster, engine: Engine, store: Store) -> None:
    one = item("sleep", seconds=60)
    driver = engine.drive([one], store)
    process = running(store, one, engine.seconds)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    found = store.entrusted(one)
    assert found is not None and engine_of_slurm.alive(found[1])
    engine_of_slurm.cancel(found[1])
    wait_until(lambda: process_start(process) is None, engine.seconds)
    wait_until(lambda: engine_of_slurm.alive(found[1]) is False, engine.seconds)
