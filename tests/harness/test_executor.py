"""The local executor: fresh processes that see their slot, leave their record, and never outlive their driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.environment import Slot, device_slots, git_state, gpus, provenance
from harness.errors import ConfigurationError, Unavailable
from harness.executors import DISK_FULL, Ended, Job, LocalExecutor
from harness.executors.child import execute, resolve
from harness.spec import Item, Record, Status
from harness.store import Store
from harness.store.leases import process_start
from tests.harness.works import item


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(device_slots(2, "cpu"), ["numpy", "tests.harness.works", "no_such_module"])
    yield executor
    executor.close()


def job(store: Store, one: Item, slot: Slot) -> Job:
    with store.driver() as driver:
        attempt = store.lease(one, driver)
    assert attempt is not None
    return Job(one, attempt.ordinal, store.root, store.cohorts, slot, search_path=tuple(sys.path))


def one(store: Store, executor: LocalExecutor, what: Item, seconds: float = 20) -> tuple[Record | None, Ended]:
    executor.submit(job(store, what, executor.slots[0]))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for handle, ended in executor.wait(1.0):
            return store.attempt(what.kind, what.id, handle.job.ordinal), ended
    raise AssertionError("the job did not end")


def wait_until(true, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_work_leaves_its_record_itself(store: Store, executor: LocalExecutor) -> None:
    record, ended = one(store, executor, item("add", a=4))
    assert record is not None and ended.code == 0
    assert (record.status, record.values, record.facts) == (Status.OK, {"sum": 4.0}, {"a": 4})
    assert set(record.files) == {"arrays.npz", "curve.jsonl", "note.txt"}
    assert store.verify(record)
    assert record.provenance["device_class"] == "cpu" and record.provenance["duration_seconds"] >= 0
    assert not (store.folder(record) / "progress.json").exists()


def test_a_value_out_of_its_metrics_bounds_is_a_failure_and_no_record_vouches_for_it(
    store: Store, executor: LocalExecutor
) -> None:
    record, _ = one(store, executor, item("percent", metrics=["auc"]))
    assert record is not None and (record.status, record.values) == (Status.FAILED, {})
    assert record.error is not None
    assert (
        "found auc = 53.49, expected a fraction from 0 to 1; a percentage is divided by 100" in record.error["message"]
    )
    record, _ = one(store, executor, item("percent", metrics=["iou"]))
    assert record is not None and record.status is Status.OK, "what no task declares is no metric"


def test_a_child_has_its_own_session_its_device_and_one_thread(store: Store, executor: LocalExecutor) -> None:
    record, _ = one(store, executor, item("surroundings"))
    assert record is not None and record.status is Status.OK, record
    assert record.facts == {
        "session": True,
        "visible": "",
        "cublas": ":4096:8",
        "omp": "1",
        "torch": False,
        "threads": None,
        "cuda_initialised": None,
        "daemon": False,
        "main": record.facts["main"],
        "device": "cpu",
    }
    assert "pytest" not in str(record.facts["main"])  # the driver's main module is not run again
    assert (store.folder(record) / "output.log").read_text() == "a printed line\n"


@pytest.mark.parametrize(
    ("work", "status", "kind", "message"),
    [
        ("raises", Status.FAILED, "ValueError", "the loss went fishing"),
        ("mistake", Status.FAILED, "DataError", "found 3 images, expected 4: fetch the rest"),
        ("greedy", Status.OUT_OF_MEMORY, "MemoryError", "no room"),
        ("diverges", Status.DIVERGED, "Diverged", "loss is nan at step 3"),
        ("unfit", Status.FAILED, "TypeError", "is not JSON"),
        ("exits", Status.FAILED, "SystemExit", "asked Python to end: SystemExit(0)"),
        ("interrupts", Status.FAILED, "KeyboardInterrupt", "asked Python to end"),
        ("absent", Status.FAILED, "ConfigurationError", 'holds no function "absent"'),
    ],
)
def test_every_way_to_fail_is_a_record(store: Store, work: str, status: Status, kind: str, message: str) -> None:
    what = item(work)
    code, _ = execute(job(store, what, device_slots(1, "cpu")[0]))
    (record,) = store.attempts("trial", what.id)
    assert code == 0
    assert record.status is status and record.error is not None
    assert record.error["type"] == kind and message in record.error["message"]
    assert ("traceback" in record.error) == (kind not in {"DataError", "ConfigurationError", "Diverged"})
    assert not (store.folder(record) / "half").exists()
    assert record.values == ({"auc": 0.5} if status is Status.DIVERGED else {})


def test_the_out_of_memory_error_of_a_gpu_is_told_apart_without_importing_torch(store: Store, monkeypatch) -> None:
    import types

    class OutOfMemoryError(RuntimeError):
        pass

    def work(spec, context):
        raise OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(
        sys.modules,
        "torch",
        types.SimpleNamespace(
            OutOfMemoryError=OutOfMemoryError, set_num_threads=print, cuda=types.SimpleNamespace(is_initialized=bool)
        ),
    )
    monkeypatch.setattr("tests.harness.works.nothing", work)
    what = item("nothing")
    execute(job(store, what, device_slots(1, "cpu")[0]))
    assert store.attempts("trial", what.id)[0].status is Status.OUT_OF_MEMORY


@pytest.mark.parametrize("path", ["tests.harness.works", ":add", "tests.harness.wroks:add", "tests.harness.works:"])
def test_a_run_path_that_leads_nowhere_is_one_sentence(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected|no module|no function"):
        resolve(path)


def test_a_work_that_fills_the_disk_leaves_no_record_and_says_so(store: Store, executor: LocalExecutor) -> None:
    record, ended = one(store, executor, item("no_space"))
    assert record is None
    assert ended.code == DISK_FULL and "is full" in ended.message


def test_a_disk_that_is_full_while_the_arrays_are_written_leaves_no_record(store: Store) -> None:
    code = (
        "import resource, pickle, sys; job = pickle.load(open(sys.argv[1], 'rb'));"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
        "from harness.executors.child import execute; print(execute(job))"
    )
    import pickle

    what = item("large", bytes=200_000)
    path = store.root.parent / "job"
    path.write_bytes(pickle.dumps(job(store, what, device_slots(1, "cpu")[0])))
    answer = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith(f"({DISK_FULL}, ") and "is full" in answer.stdout
    assert store.attempts("trial", what.id) == []


def test_term_ends_a_willing_job_and_kill_a_stubborn_one_with_all_its_processes(
    store: Store, executor: LocalExecutor, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    handles = [
        executor.submit(job(store, item("parent", pids=str(pids), seconds=60), executor.slots[0])),
        executor.submit(job(store, item("stubborn", seconds=60, log=str(tmp_path / "log")), executor.slots[1])),
    ]
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2 and (tmp_path / "log").exists())
    grandchild = int(pids.read_text().split()[1])
    begun = time.monotonic()
    for handle in handles:
        executor.stop(handle, grace=0.5)
    codes: dict[str, int | None] = {}
    while len(codes) < 2:
        codes.update({handle.job.item.spec["work"]: ended.code for handle, ended in executor.wait(1.0)})
    assert codes == {"parent": 143, "stubborn": -9}
    assert 0.4 < time.monotonic() - begun < 10
    wait_until(lambda: process_start(grandchild) is None)


def test_a_killed_server_costs_neither_the_running_job_nor_the_next(
    store: Store, executor: LocalExecutor, tmp_path
) -> None:
    from multiprocessing import forkserver

    slow, quick = item("sleep", seconds=1.0, log=str(tmp_path / "log")), item("add", a=1)
    executor.submit(job(store, slow, executor.slots[0]))
    wait_until((tmp_path / "log").exists)
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(server, 9)
    wait_until(lambda: process_start(server) is None)
    executor.submit(job(store, quick, executor.slots[1]))
    over: list[str] = []
    while len(over) < 2:
        over += [handle.job.item.id for handle, _ in executor.wait(1.0)]
    assert store.ok("trial", slow.id) is not None and store.ok("trial", quick.id) is not None


def test_with_torch_preloaded_a_child_computes_on_one_thread_and_touches_no_gpu(tmp_path: Path) -> None:
    what = item("surroundings")
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps([what.dump()]))
    words = [sys.executable, "-m", "tests.harness.drive", str(tmp_path), str(plan), "1", "torch,numpy"]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["torch"] is False  # the driver itself never pays for it
    record = Store(tmp_path / "trials", tmp_path / "cohorts").ok("trial", what.id)
    assert record is not None
    seen = {name: record.facts[name] for name in ("torch", "threads", "cuda_initialised", "session", "visible")}
    assert seen == {"torch": True, "threads": 1, "cuda_initialised": False, "session": True, "visible": ""}


# ------------------------------------------------------------------------- the machine


def test_slots_are_one_per_core_or_as_many_as_asked(monkeypatch) -> None:
    monkeypatch.setattr("harness.environment._present_gpus", list)
    assert [slot.device for slot in device_slots(3, "auto")] == ["cpu"] * 3
    assert {slot.threads for slot in device_slots(None, "cpu")} == {1}
    with pytest.raises(Unavailable, match="no GPU is visible"):
        device_slots(1, "cuda")
    with pytest.raises(ConfigurationError, match="at least 1"):
        device_slots(0)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("2,0", ["2", "0"]),
        ("", []),
        ("-1", []),
        ("1,-1,2", ["1"]),
        ("7", []),
        ("GPU-ab", ["GPU-ab"]),
    ],
)
def test_gpus_are_those_that_cuda_would_show(monkeypatch, visible: str | None, expected: list[str]) -> None:
    monkeypatch.setattr("harness.environment._present_gpus", lambda: ["A", "B", "C"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [name for name, _ in gpus()] == expected
    slots = device_slots(None, "auto")
    if expected:
        assert [(slot.visible, slot.device) for slot in slots] == [(name, "cuda:0") for name in expected]
    else:
        assert {slot.device_class for slot in slots} == {"cpu"}


def test_git_state_names_the_commit_and_changes_with_an_edit_and_fails_nowhere(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {}

    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-qm", "one")
    clean = git_state(tmp_path)
    (tmp_path / "file").write_text("2")
    dirty = git_state(tmp_path)
    assert len(clean["commit"]) == 40 and clean["difference_sha256"] == ""
    assert dirty["commit"] == clean["commit"] and len(dirty["difference_sha256"]) == 64
    assert json.loads(json.dumps(provenance()))["python"] == ".".join(map(str, sys.version_info[:3]))
