"""The runner: every item once, the rest after a kill, and no number changed."""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.environment import Slot, device_slots
from harness.errors import ConfigurationError, StoreError
from harness.executors import Executor, LocalExecutor
from harness.runner import PlainProgress, RetryPolicy, RichProgress, Summary, run, status
from harness.runner.progress import SlotLine, View
from harness.runner.schedule import Estimate, group, pause_between_looks, priorities
from harness.spec import Item, Status
from harness.store import State, Store
from harness.store.leases import process_start
from tests.harness.works import item


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(device_slots(2, "cpu"), ["numpy", "tests.harness.works"])
    yield executor
    executor.close()


def go(items: list[Item], store: Store, executor: LocalExecutor, **options) -> Summary:
    options.setdefault("retry", RetryPolicy(backoff=0.02))
    return run(items, store, executor, grace=0.5, **options)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def wait_until(true, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_needs_come_first_and_their_folders_reach_the_work(store: Store, executor: LocalExecutor) -> None:
    a, b = item("add", kind="cohort", a=1), item("add", kind="phase", a=10)
    c = item("add", a=100, needs=(a.id, b.id))
    d = item("add", a=1000, needs=(c.id,))
    summary = go([d, c, b, a], store, executor)
    assert summary.complete and summary.attempts == 4 and not summary.reused
    record = store.ok("trial", d.id)
    assert record is not None and record.values == {"sum": 1111.0}


def test_running_again_is_resuming(store: Store, executor: LocalExecutor, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    first = [item("add", a=number, log=log) for number in range(3)]
    go(first, store, executor)
    later = item("add", a=9, log=log, needs=(first[0].id,))
    summary = go([*first, later], store, executor)
    assert summary.complete and summary.attempts == 1
    assert summary.reused == {one.id for one in first}
    assert len(lines(Path(log))) == 4
    assert go([later], store, executor).attempts == 0  # its need is done though not planned


def test_a_killed_worker_is_tried_again_and_each_attempt_is_recorded(store: Store, executor, tmp_path: Path) -> None:
    one = item("dies", times=2, log=str(tmp_path / "log"))
    summary = go([one], store, executor)
    assert summary.complete and summary.attempts == 3
    attempts = store.attempts("trial", one.id)
    assert [record.status for record in attempts] == ["interrupted", "interrupted", "ok"]
    assert "SIGKILL" in (attempts[0].error or {})["message"]
    assert not (store.folder(attempts[0]) / "half").exists()


def test_an_item_that_kills_every_worker_ends_failed_and_stays_so(store: Store, executor, tmp_path: Path) -> None:
    one = item("dies", times=99, log=str(tmp_path / "log"))
    after = item("add", a=1, needs=(one.id,))
    summary = go([one, after], store, executor)
    assert summary.attempts == 3 and set(summary.failed) == {one.id}
    assert summary.blocked == {after.id: "needs dies, which ended interrupted"}
    assert go([one], store, executor).attempts == 0
    assert go([one], store, executor, retry=RetryPolicy(retry_failed=True)).attempts == 1


def test_a_failure_blocks_what_needs_it_with_the_reason_and_nothing_else(
    store: Store, executor, tmp_path: Path
) -> None:
    log = str(tmp_path / "log")
    bad, good = item("raises", log=log), item("add", a=2)
    child = item("add", a=3, needs=(good.id, bad.id))
    grandchild = item("add", a=4, needs=(child.id,))
    orphan = item("add", a=5, needs=("0" * 64,))
    summary = go([bad, good, child, grandchild, orphan], store, executor)
    assert summary.done == {good.id} and set(summary.failed) == {bad.id}
    assert "traceback" in (summary.failed[bad.id].error or {})
    assert summary.blocked[child.id] == "needs raises, which ended failed"
    assert "blocked: needs raises" in summary.blocked[grandchild.id]
    assert "neither done nor planned" in summary.blocked[orphan.id]
    assert len(lines(Path(log))) == 1  # an exception is not retried
    assert go([bad, child], store, executor).blocked.keys() == {child.id}
    assert len(lines(Path(log))) == 1  # nor by the next run
    go([bad], store, executor, retry=RetryPolicy(retry_failed=True))
    assert len(lines(Path(log))) == 2


def test_a_timeout_with_a_checkpoint_goes_on_from_it_and_one_without_is_final(store: Store, executor) -> None:
    steps, stuck = item("resumes"), item("sleep", seconds=60)
    summary = go([steps, stuck], store, executor, timeout=0.6)
    assert [record.status for record in store.attempts("trial", steps.id)] == ["timeout", "timeout", "ok"]
    assert store.attempts("trial", steps.id)[2].values == {"steps": 2.0}
    assert summary.failed[stuck.id].status is Status.TIMEOUT
    assert [record.status for record in store.attempts("trial", stuck.id)] == ["timeout"]
    assert go([stuck], store, executor).attempts == 0


def test_a_full_disk_ends_the_run_with_one_sentence_and_the_next_run_goes_on(store: Store, executor) -> None:
    others = [item("sleep", seconds=5, name=str(number)) for number in range(3)]
    full = item("no_space", cost=9.0)
    begun = time.monotonic()
    with pytest.raises(StoreError, match="is full"):
        go([*others, full], store, executor)
    assert time.monotonic() - begun < 4  # the others were ended, not awaited
    assert store.state("trial", full.id) is State.INTERRUPTED
    assert store.done_ids("trial") == set()


def test_damaged_inputs_are_made_again_before_anything_is_built_on_them(store: Store, executor, tmp_path: Path) -> None:
    base = item("add", kind="phase", a=1, log=str(tmp_path / "log"))
    go([base], store, executor)
    record = store.ok("phase", base.id)
    assert record is not None
    (store.folder(record) / "arrays.npz").write_bytes(b"damaged")
    top = item("add", a=10, needs=(base.id,))
    summary = go([base, top], store, executor)
    assert summary.complete and len(lines(tmp_path / "log")) == 2
    assert store.ok("trial", top.id).values == {"sum": 11.0}  # type: ignore[union-attr]
    assert len(store.notices) == 1


def test_an_item_runs_only_where_it_is_admitted(store: Store, executor) -> None:
    one, two = item("add", a=1), item("add", a=2)

    def admit(what: Item, slot: Slot) -> str | None:
        if what.id == two.id:
            return "its cell was run on cuda"
        return None if slot.index == 1 else "not here"

    summary = go([one, two], store, executor, admit=admit)
    assert summary.blocked == {two.id: "its cell was run on cuda"}
    assert store.ok("trial", one.id).provenance["slot"] == "cpu 1"  # type: ignore[union-attr]


# ------------------------------------------------------------------------- scheduling


def test_the_longest_chain_comes_first() -> None:
    a = item("add", a=1, cost=1)
    b = item("add", a=2, cost=5, needs=(a.id,))
    c = item("add", a=3, cost=4)
    d = item("add", a=4, cost=2, needs=(b.id, c.id))
    longest = priorities([d, c, b, a])
    assert [longest[one.id] for one in (a, b, c, d)] == [8, 7, 6, 2]


def test_a_circle_and_a_repeated_item_are_refused() -> None:
    a = Item(kind="trial", id="a", title="a", run="m:f", spec={}, needs=("b",))
    b = Item(kind="trial", id="b", title="b", run="m:f", spec={}, needs=("a",))
    with pytest.raises(ConfigurationError, match="circle"):
        priorities([a, b])
    with pytest.raises(ConfigurationError, match="twice"):
        priorities([item("add", a=1), item("add", a=1)])


def a_trial(title: str, cost: float = 1.0, **spec) -> Item:
    return Item(kind="trial", id=title, title=title, run="m:f", spec=spec, cost=cost)


def test_the_time_left_comes_from_like_items_then_from_their_task_scaled_by_cost() -> None:
    like = [a_trial(f"dira × siim · 100 % · repeat {n}", task="siim", label_fraction=1.0) for n in range(4)]
    assert len({group(one) for one in like}) == 1
    assert group(like[0]) != group(a_trial("dira × siim · 1 % · repeat 0"))
    estimate = Estimate()
    assert estimate.seconds(like[3]) is None
    for one, seconds in zip(like, (3.0, 4.0, 50.0), strict=False):
        estimate.learn(one, seconds)
    assert estimate.seconds(like[3]) == 4.0  # the median
    mine = a_trial("mine × siim", 2.0, task="siim", label_fraction=0.5)
    assert estimate.seconds(mine) == 8.0  # two costs at four seconds each
    left = estimate.remaining([like[3], like[3]], {"x": (like[0], 1.0)}, slots=2)
    assert left == pytest.approx((4 + 4 + 3) / 2)


def test_nothing_is_predicted_for_a_kind_of_item_of_which_none_was_measured() -> None:
    """Phases and trials of one task say nothing of trials of another: 0:49 became 43:04 when those began."""
    phase = Item(kind="phase", id="p", title="pretrain dis · seed 0", run="m:p", spec={}, cost=7.5)
    other = Item(kind="phase", id="q", title="pretrain res · seed 0", run="m:p", spec={}, cost=15.0)
    quick = [a_trial(f"a × chest · repeat {n}", task="chest") for n in range(50)]
    slow = [a_trial(f"a × lits · repeat {n}", task="lits") for n in range(50)]
    estimate = Estimate()
    assert estimate.remaining([phase, *quick], {}, 2) is None
    estimate.learn(phase, 15.0)
    assert estimate.seconds(other) == 30.0
    assert estimate.remaining([other, *quick], {}, 2) is None
    estimate.learn(quick[0], 1.0)
    assert estimate.remaining([*quick, *slow], {}, 2) is None
    assert estimate.remaining(quick, {}, 2) == pytest.approx(25.0)
    estimate.learn(slow[0], 50.0)
    assert estimate.remaining([*quick, *slow], {}, 2) == pytest.approx(25 * 51)
    assert estimate.remaining([], {}, 2) == 0.0


# ------------------------------------------------------------------------- what is shown


def test_plain_lines_are_few_and_failures_are_told_at_once(store: Store, executor) -> None:
    stream = io.StringIO()
    items = [item("nothing", name=str(number)) for number in range(20)] + [item("raises")]
    go(items, store, executor, progress=PlainProgress(stream))
    text = stream.getvalue().splitlines()
    assert text[0] == "21 of 21 items to run on 2 slots"
    assert "failed: raises: the loss went fishing" in text
    assert text[-1].startswith("21/21, 1 failed; ")
    assert len(text) <= 6


def test_a_plain_line_says_how_far_the_item_is_that_has_run_longest() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream, seconds=0.0)
    slots = [
        SlotLine("cpu 0", "Montgomery", 5, 10, "decoding", 3.0),
        SlotLine("cpu 1", "CheXpert", 1234, 5678, "decoding", 60.0),
    ]
    progress.update(View(9, 2, 0, 0, 0, 70.0, 600.0, slots))
    progress.update(View(9, 2, 0, 0, 0, 70.0, None, slots[:1]))
    assert stream.getvalue().splitlines() == [
        "2/9; 1:10 so far, about 10:00 left; CheXpert: decoding, 1,234 of 5,678",
        "2/9; 1:10 so far",
    ]


def test_the_view_holds_what_an_item_says_where_lines_are_plain(store: Store, executor) -> None:
    seen: list[View] = []

    class Keeping(PlainProgress):
        interval = 0.2

        def update(self, view: View) -> None:
            seen.append(view)

    go([item("sleep", seconds=2.5, name="first")], store, executor, progress=Keeping(io.StringIO()))
    assert "sleeping" in {line.what for view in seen for line in view.slots}


def test_live_lines_show_each_slot_and_the_total(store: Store, executor) -> None:
    from rich.console import Console

    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=True, width=120))
    go([item("sleep", seconds=1.2, name="first")], store, executor, progress=progress)
    text = stream.getvalue()
    for expected in ("cpu 0", "sleep first sleeping", "cpu 1", "idle", "total", "0/1", "1/1"):
        assert expected in text


def test_another_shell_sees_what_runs_and_where_everything_stands(store: Store, executor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done, bad = item("add", a=1), item("raises")
    slow, waiting = item("sleep", seconds=10, log=str(log)), item("add", a=2)  # a busy machine is slow to look
    go([done, bad], store, executor)
    thread = threading.Thread(target=go, args=([slow], store, executor))
    thread.start()
    wait_until(log.exists)
    time.sleep(0.8)  # the first report after the start is half a second later
    code = (
        "import json, sys; from pathlib import Path; from harness.runner import status; from harness.spec import Item;"
        "from harness.store import Store; root = Path(sys.argv[1]);"
        "seen = status(Store(root / 'trials', root / 'cohorts'), [Item(**e) for e in json.loads(sys.argv[2])]);"
        "print(json.dumps([seen.counts, [[r.slot, r.done, r.total, r.what] for r in seen.running], len(seen.failed)]))"
    )
    plan = json.dumps([one.dump() for one in (done, bad, slow, waiting)])
    words = [sys.executable, "-c", code, str(store.root.parent), plan]
    answer = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    thread.join()
    assert answer[0] == {"done": 1, "failed": 1, "running": 1, "missing": 1}
    assert answer[1] == [["cpu 0", 1, 2, "sleeping"]]
    assert answer[2] == 1
    assert status(store, [slow]).counts == {State.DONE: 1}


# ------------------------------------------------------------------------- kills, in processes of their own


def drive(root: Path, items: list[Item], slots: int = 2) -> subprocess.Popen[str]:
    plan = root / "plan.json"
    if not plan.exists():
        plan.write_text(json.dumps([one.dump() for one in items]))
    words = [sys.executable, "-m", "tests.harness.drive", str(root), str(plan), str(slots), "numpy,tests.harness.works"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def answer(driver: subprocess.Popen[str]) -> dict:
    out, _ = driver.communicate(timeout=60)
    return json.loads(out)


def test_two_drivers_at_once_run_each_item_once_and_both_see_all(store: Store, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    base = item("add", a=1, name="base", log=log, seconds=0.3)
    items = [base, item("raises", name="bad", log=log)]
    items += [item("add", a=number, name=str(number), log=log, seconds=0.05, needs=(base.id,)) for number in range(12)]
    drivers = [drive(tmp_path, items, slots=1) for _ in range(2)]
    answers = [answer(driver) for driver in drivers]
    names = lines(Path(log))
    assert sorted(names) == sorted({*names}) and len(names) == 14
    assert sum(one["attempts"] for one in answers) == 14
    for one in answers:
        assert (one["done"], one["failed"], one["blocked"]) == (13, 1, 0)


def test_a_killed_driver_takes_its_children_along_and_the_next_run_finishes_the_rest(
    store: Store, tmp_path: Path
) -> None:
    log, pids = str(tmp_path / "log"), tmp_path / "pids"
    items = [item("add", a=number, name=str(number), log=log) for number in range(6)]
    items += [item("parent", pids=str(pids), seconds=60, cost=0.1)]
    driver = drive(tmp_path, items)
    wait_until(lambda: len(lines(Path(log))) == 6 and pids.exists() and len(pids.read_text().split()) == 2)
    wait_until(lambda: len(store.done_ids("trial")) == 6)
    family = [int(pid) for pid in pids.read_text().split()]
    driver.kill()
    driver.wait()
    wait_until(lambda: all(process_start(pid) is None for pid in family), seconds=5)
    assert store.state("trial", items[-1].id) is State.INTERRUPTED
    summary = run(items[:-1], store, LocalExecutor(device_slots(1, "cpu")))
    assert summary.complete and summary.attempts == 0


def test_sigterm_ends_children_and_leaves_a_store_that_resumes(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    items = [
        item("sleep", seconds=60, name="long", cost=9.0, log=str(log)),
        item("add", a=1, name="short", log=str(log)),
    ]
    driver = drive(tmp_path, items)
    wait_until(lambda: len(lines(log)) == 2 and len(store.done_ids("trial")) == 1)
    begun = time.monotonic()
    driver.send_signal(signal.SIGTERM)
    said = answer(driver)
    assert driver.returncode == 3 and said["interrupted"] and said["done"] == 1
    assert time.monotonic() - begun < 8
    (record,) = store.attempts("trial", items[0].id)
    assert record.status is Status.INTERRUPTED and (record.error or {})["type"] == "Stopped"
    assert status(store, items).counts == {State.DONE: 1, State.INTERRUPTED: 1}
    assert not any((store.root / "drivers").iterdir())


@pytest.mark.thorough
def test_killed_at_any_moment_the_driver_leaves_a_store_that_finishes_with_the_same_numbers(
    store: Store, tmp_path
) -> None:
    """Kills a driver again and again at drawn moments, then compares every value with what the sums must be."""
    draw = random.Random(7)
    items: list[Item] = []
    for number in range(24):
        needs = (items[number - 4].id,) if number >= 4 else ()
        items.append(item("add", a=number, seconds=0.1, needs=needs))
    for kill in range(5):
        driver = drive(tmp_path, items)
        wait_until(lambda enough=4 * kill + 1: len(store.done_ids("trial")) >= enough)
        time.sleep(draw.random() * 0.15)
        driver.kill()
        driver.communicate()
    assert len(store.done_ids("trial")) < 24
    said = answer(drive(tmp_path, items))
    assert said["done"] == 24 and said["failed"] == said["blocked"] == 0
    for number, one in enumerate(items):
        record = store.ok("trial", one.id)
        assert record is not None and store.verify(record)
        assert record.values["sum"] == sum(range(number % 4, number + 1, 4))
        assert len([r for r in store.attempts("trial", one.id) if r.status is Status.OK]) == 1
    assert store.notices == []
    cut = [r for one in items for r in store.attempts("trial", one.id) if r.status is Status.INTERRUPTED]
    assert cut, "no kill hit a running attempt, so this test showed nothing"


@pytest.mark.parametrize("moment", ["arrays", "before", "after"])
def test_killed_while_it_writes_its_record_an_attempt_counts_whole_or_not_at_all(store: Store, moment: str) -> None:
    one = item("add", a=1)
    code = (
        "import os, sys, signal; from pathlib import Path; import harness.store.records as records, numpy as np;"
        "from harness.spec import Status; from tests.harness.works import item\n"
        "def die(*a, **k): os.kill(os.getpid(), signal.SIGKILL)\n"
        "if sys.argv[2] == 'arrays': records.sync_files = die\n"
        "if sys.argv[2] == 'before': os.link = die\n"
        "if sys.argv[2] == 'after': records.sync_folder = die\n"
        "root = Path(sys.argv[1]); store = records.Store(root / 'trials', root / 'cohorts'); driver = store.driver()\n"
        "driver.__enter__(); attempt = store.lease(item('add', a=1), driver)\n"
        "store.finish(attempt, Status.OK, values={'sum': 1.0}, arrays={'p': np.ones(9)})\n"
    )
    words = [sys.executable, "-c", code, str(store.root.parent), moment]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    whole = moment == "after"
    assert (store.ok("trial", one.id) is not None) == whole
    assert store.done_ids("trial") == ({one.id} if whole else set())
    with store.driver() as driver:
        attempt = store.lease(one, driver)
        assert (attempt is None) == whole
        if attempt is not None:
            store.finish(attempt, Status.OK)
    record = store.ok("trial", one.id)
    assert record is not None and store.verify(record) and store.notices == []


def test_a_finished_matrix_of_the_papers_size_is_looked_through_without_starting_anything(
    store: Store, tmp_path
) -> None:
    items = [item("nothing", name=str(number)) for number in range(1340)]
    with store.driver() as driver:
        for one in items:
            attempt = store.lease(one, driver)
            assert attempt is not None
            store.finish(attempt, Status.OK, values={"value": 1.0})

    class Nowhere(Executor):
        name, slots = "nowhere", device_slots(1, "cpu")

        def submit(self, job):
            raise AssertionError("nothing is to be run")

        def wait(self, timeout):
            return []

        stop = close = submit

    summary = run(items, store, Nowhere())
    assert summary.complete and len(summary.reused) == 1340 and summary.attempts == 0


def test_looking_at_other_drivers_items_takes_at_most_a_twentieth_of_the_time_up_to_five_seconds():
    """Local files answer at once; on a busy shared folder 64 items may take a tenth of a second, or many."""
    assert pause_between_looks(0.001) == 0.5
    for took in (0.05, 0.1, 0.2):
        assert took / (took + pause_between_looks(took)) <= 0.05
    assert pause_between_looks(10.0) == 5.0
