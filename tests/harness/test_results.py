"""Results are byte-stable files made from records; committed rows stand only while they are what dvc.lock says."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import yaml

from harness.errors import ConfigurationError
from harness.identity import digest
from harness.reproduction import begin_from_scratch, compare, end_from_scratch
from harness.results import adopt, device_classes, read_rows, write_pretraining, write_trials
from harness.spec import Status
from harness.store import Store
from tests.harness import project

METHOD = "moco_v2"


@pytest.fixture
def root(tmp_path):
    return project.copy(tmp_path)


def finish(store, item, *, value=None, status=Status.OK, device="cpu"):
    """Leave the record that an attempt at an item would have left."""
    with store.driver() as driver:
        attempt = store.claim(item, driver)
        assert attempt is not None
        rng = np.random.Generator(np.random.PCG64(int(item.id[:8], 16)))
        value = rng.uniform(0.5, 0.9) if value is None else value
        values = dict.fromkeys(item.spec.get("metrics", []), value) if status is Status.OK else {}
        arrays = {"resamples": value + rng.normal(0, 0.01, 50)} if item.kind == "trial" and values else {}
        return store.finish(
            attempt, status, values=values, arrays=arrays, provenance={"device_class": device, "duration_seconds": 2.0}
        )


def filled(root, **kwargs):
    plan = project.plan(root, repeats=3)
    store = Store(root / ".trials", root / ".cohorts")
    for item in plan.trials(lambda cell: cell.key.method == METHOD).values():
        finish(store, item, **kwargs)
    return plan, store


def lock(root, *paths):
    """Write the dvc.lock that DVC would have written for these outputs."""
    outs = [
        {"path": p.relative_to(root).as_posix(), "hash": "md5", "md5": hashlib.md5(p.read_bytes()).hexdigest()}
        for p in paths
    ]
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"trials": {"cmd": "x", "outs": outs}}}))


def test_writing_twice_gives_the_same_bytes_without_time_or_attempt(root):
    plan, store = filled(root)
    path = write_trials(plan, root, store, adopt(plan, root), METHOD)
    first = {p.relative_to(root): p.read_bytes() for p in (root / "results").rglob("*") if p.is_file()}
    for p in list(first):
        (root / p).unlink()
    write_trials(plan, root, store, adopt(plan, root), METHOD)
    assert first == {p.relative_to(root): p.read_bytes() for p in (root / "results").rglob("*") if p.is_file()}
    assert list(read_rows(path)[0]) == [
        "method",
        "task",
        "label_fraction",
        "pretrain_seed",
        "repeat",
        "metric",
        "value",
        "status",
        "cohort",
        "trial_id",
    ]


def test_a_value_survives_the_file_bit_for_bit(root):
    plan, store = filled(root)
    rows = read_rows(write_trials(plan, root, store, adopt(plan, root), METHOD))
    for row in rows:
        record = store.ok("trial", row["trial_id"])
        assert float(row["value"]) == record.values[row["metric"]]


def test_resamples_are_the_mean_over_repeats(root):
    plan, store = filled(root)
    write_trials(plan, root, store, adopt(plan, root), METHOD)
    with np.load(root / f"results/miniature/resamples/{METHOD}.npz") as archive:
        for cell in plan.cells.values():
            if cell.trials and cell.key.method == METHOD:
                metric = plan.registry.tasks[cell.key.task].metric
                expected = np.mean(
                    [store.arrays(store.ok("trial", item.id))["resamples"] for item in cell.trials.values()], axis=0
                )
                np.testing.assert_allclose(
                    archive[f"{cell.key.task}|{cell.key.label_fraction!r}|0|{metric}"], expected, rtol=1e-12
                )


def test_committed_rows_are_adopted_in_a_fresh_clone_and_change_nothing(root):
    plan, store = filled(root)
    path = write_trials(plan, root, store, adopt(plan, root), METHOD)
    before = {p: p.read_bytes() for p in (root / "results").rglob("*") if p.is_file()}
    lock(root, path)
    empty = Store(root / "elsewhere", root / ".cohorts")
    adopted = adopt(plan, root)
    assert len(adopted.trial_ids) == len(plan.trials(lambda cell: cell.key.method == METHOD))
    assert plan.needed(plan.trials(lambda cell: cell.key.method == METHOD).values(), adopted.trial_ids) == []
    write_trials(plan, root, empty, adopted, METHOD)
    assert before == {p: p.read_bytes() for p in (root / "results").rglob("*") if p.is_file()}


def test_an_altered_file_is_not_adopted_and_says_so(root):
    plan, store = filled(root)
    path = write_trials(plan, root, store, adopt(plan, root), METHOD)
    lock(root, path)
    path.write_text(path.read_text().replace("0.5", "0.9", 1) + "\n")
    adopted = adopt(plan, root)
    assert not adopted.rows
    assert "is not what dvc.lock says" in adopted.refused[0]


def test_rows_without_a_lock_are_not_adopted(root):
    plan, store = filled(root)
    write_trials(plan, root, store, adopt(plan, root), METHOD)
    assert not adopt(plan, root).rows


def test_more_repeats_keep_the_committed_ones(root):
    plan, store = filled(root)
    lock(root, write_trials(plan, root, store, adopt(plan, root), METHOD))
    more = project.plan(root, repeats=4)
    adopted = adopt(more, root)
    wanted = more.trials(lambda cell: cell.key.method == METHOD)
    missing = [item for item in more.needed(wanted.values(), adopted.trial_ids) if item.kind == "trial"]
    assert {item.spec["repeat"] for item in missing} == {3}
    fresh = Store(root / "fresh", root / ".cohorts")
    for item in missing:
        finish(fresh, item)
    write_trials(more, root, fresh, adopted, METHOD)
    both = Store(root / "both", root / ".cohorts")
    for item in wanted.values():
        finish(both, item)
    mixed = dict(np.load(root / f"results/miniature/resamples/{METHOD}.npz"))
    write_trials(more, root, both, adopted, METHOD)
    whole = dict(np.load(root / f"results/miniature/resamples/{METHOD}.npz"))
    assert set(mixed) == set(whole)
    for name in whole:
        np.testing.assert_allclose(mixed[name], whole[name], rtol=1e-9)


def test_an_ok_attempt_in_the_store_wins_over_a_committed_row(root):
    plan, store = filled(root, value=0.25)
    lock(root, write_trials(plan, root, store, adopt(plan, root), METHOD))
    other = Store(root / "other", root / ".cohorts")
    item = next(iter(plan.trials(lambda cell: cell.key.method == METHOD).values()))
    finish(other, item, value=0.75)
    rows = read_rows(write_trials(plan, root, other, adopt(plan, root), METHOD))
    assert {row["value"] for row in rows if row["trial_id"] == item.id} == {"0.75"}
    assert {row["value"] for row in rows if row["trial_id"] != item.id} == {"0.25"}


def test_a_failed_trial_is_a_row_without_a_value_and_never_an_average(root):
    plan = project.plan(root, repeats=3)
    store = Store(root / ".trials", root / ".cohorts")
    items = list(plan.trials(lambda cell: cell.key.method == METHOD).values())
    for item in items[1:]:
        finish(store, item)
    finish(store, items[0], status=Status.FAILED)
    rows = read_rows(write_trials(plan, root, store, adopt(plan, root), METHOD))
    assert {(row["status"], row["value"]) for row in rows if row["trial_id"] == items[0].id} == {("failed", "")}


def test_device_classes_of_a_cell_are_known_and_mixing_shows(root):
    plan = project.plan(root, repeats=3)
    store = Store(root / ".trials", root / ".cohorts")
    for key, item in plan.trials(lambda cell: cell.key.method == METHOD).items():
        finish(store, item, device="cuda" if key.task == "montgomery" and key.repeat else "cpu")
    write_trials(plan, root, store, adopt(plan, root), METHOD)
    classes = {(key.task): value for key, value in device_classes(plan, root).items() if key.method == METHOD}
    assert classes == {"chestxray14": "cpu", "montgomery": "cpu+cuda"}


def test_the_pretraining_file_holds_no_time_and_no_host(root):
    plan = project.plan(root)
    store = Store(root / ".trials", root / ".cohorts")
    for item in plan.phases["dira_moco_v2", 0]:
        finish(store, item)
    path = write_pretraining(plan, root, store, adopt(plan, root), "dira_moco_v2")
    content = json.loads(path.read_text())
    assert [phase["name"] for phase in content["pretraining_seeds"][0]["phases"]] == ["dis", "dis+res", "dis+res+adv"]
    assert "duration" not in path.read_text()
    assert all(
        phase["id"] == item.id
        for phase, item in zip(content["pretraining_seeds"][0]["phases"], plan.phases["dira_moco_v2", 0], strict=True)
    )


def test_a_run_from_scratch_never_compares_a_row_with_itself(root):
    plan, store = filled(root, value=0.5)
    lock(root, write_trials(plan, root, store, adopt(plan, root), METHOD))
    with pytest.raises(ConfigurationError, match="nothing to compare"):
        compare(root, "miniature", {item.id for item in plan.items.values()})
    assert begin_from_scratch(root, "miniature")
    assert not begin_from_scratch(root, "miniature"), "an interrupted run from scratch goes on"
    assert (root / ".trials.aside").is_dir()
    again = Store(root / ".trials", root / ".cohorts")
    for item in plan.trials(lambda cell: cell.key.method == METHOD).values():
        assert again.ok("trial", item.id) is None
        finish(again, item, value=0.5 if item.spec["repeat"] else 0.6)
    write_trials(plan, root, again, type(adopt(plan, root))(), METHOD)
    result = compare(root, "miniature", {item.id for item in plan.items.values()})
    rows = len(read_rows(root / f"results/miniature/trials/{METHOD}.csv"))
    assert result.compared == rows
    assert result.bit_equal == rows * 2 // 3
    assert result.different == rows // 3, "a spread of zero allows no other value"
    end_from_scratch(root)
    assert digest(plan.parameters) == digest(project.plan(root, repeats=3).parameters)


def test_within_noise_is_the_prediction_interval_of_the_committed_repeats(root):
    from harness.reproduction import _within

    repeats = [0.80, 0.81, 0.79, 0.80, 0.82, 0.78, 0.80, 0.81, 0.79, 0.80]
    # mean .80, s = .01155, t(9, .975) = 2.262: half-width 2.262 · .01155 · sqrt(1.1) = .0274
    assert _within(0.8273, repeats)
    assert not _within(0.8275, repeats)
    assert not _within(0.80, [0.80])
