"""Results are byte-stable files made from records; committed rows stand only while they are what dvc.lock says."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.cli.session import Session
from harness.errors import ConfigurationError, DataError
from harness.identity import digest
from harness.metrics import metric_of
from harness.reproduction import begin_from_scratch, compare, end_from_scratch
from harness.results import (
    adopt,
    device_classes,
    measured_seconds,
    read_rows,
    write_atomically,
    write_cohort,
    write_localization,
    write_pretraining,
    write_trials,
)
from harness.results.files import parse_rows, table
from harness.results.table import read_trial_rows
from harness.runner import Summary
from harness.running import refresh
from harness.running.execution import refuse_mixing
from harness.spec import Status
from harness.statistics.trials import Trials
from harness.store import Store
from tests.harness import project

METHOD = "moco_v2"


@pytest.fixture
def root(tmp_path):
    return project.copy(tmp_path)


LABELLED = 30  # what each record says of its trial


def finish(store, item, *, value=None, status=Status.OK, device="cpu", **provenance):
    """Leave the record that an attempt at an item would have left."""
    with store.driver() as driver:
        attempt = store.lease(item, driver)
        assert attempt is not None
        rng = np.random.Generator(np.random.PCG64(int(item.id[:8], 16)))
        value = rng.uniform(0.5, 0.9) if value is None else value
        values = dict.fromkeys(item.spec.get("metrics", []), value) if status is Status.OK else {}
        values |= {name: 14.0 for name in values if metric_of(name).counts}
        arrays = {"resamples": value + rng.normal(0, 0.01, 50)} if item.kind == "trial" and values else {}
        provenance |= {"device_class": device, "duration_seconds": 2.0}
        facts = {"labelled": LABELLED} if item.kind == "trial" and values else {}
        return store.finish(attempt, status, values=values, facts=facts, arrays=arrays, provenance=provenance)


def filled(root, **kwargs):
    plan = project.plan(root, repeats=3)
    store = Store(root / ".trials", root / ".cohorts")
    for item in plan.trials(lambda cell: cell.key.method == METHOD).values():
        finish(store, item, **kwargs)
    return plan, store


def lock(root, *paths):
    """Write the dvc.lock that DVC would have written for these outputs and the resamples beside them."""
    beside = [p.parents[1] / "resamples" / f"{p.stem}.npz" for p in paths if p.parent.name == "trials"]
    outs = [
        {"path": p.relative_to(root).as_posix(), "hash": "md5", "md5": hashlib.md5(p.read_bytes()).hexdigest()}
        for p in [*paths, *beside]
    ]
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"trials": {"cmd": "x", "outs": outs}}}))


def mine(plan):
    """The trials of the method under test, in planned order."""
    return list(plan.trials(lambda cell: cell.key.method == METHOD).values())


def means(root):
    """What the resamples of the method under test hold."""
    with np.load(root / f"results/miniature/resamples/{METHOD}.npz") as archive:
        return {name: archive[name] for name in archive.files}


def committed(root):
    """Leave the results of a full set, locked, and no store: what a fresh clone holds."""
    plan, store = filled(root)
    path = write_trials(plan, root, store, adopt(plan, root), METHOD)
    lock(root, path)
    shutil.rmtree(root / ".trials")
    return plan, path


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
        "labelled",
        "cohort",
        "trial_id",
        "seal",
    ]


def test_a_value_survives_the_file_bit_for_bit(root):
    plan, store = filled(root)
    rows = read_rows(write_trials(plan, root, store, adopt(plan, root), METHOD))
    for row in rows:
        record = store.ok("trial", row["trial_id"])
        assert float(row["value"]) == record.values[row["metric"]]


def test_a_row_says_how_many_labels_its_record_counted_and_an_older_committed_row_stands_without(root):
    plan, store = filled(root)
    path = write_trials(plan, root, store, adopt(plan, root), METHOD)
    assert {row.labelled for row in read_trial_rows(path)} == {LABELLED}
    whole = path.read_text()
    old = [{name: text for name, text in row.items() if name != "labelled"} for row in read_rows(path)]
    path.write_text(table(old[0], old))  # as it was committed before there was such a column
    (path.parents[1] / "SHA256SUMS").unlink()
    lock(root, path)
    shutil.rmtree(root / ".trials")
    adopted = adopt(plan, root)
    assert len(adopted.trial_ids) == len(plan.trials(lambda cell: cell.key.method == METHOD))
    again = read_trial_rows(write_trials(plan, root, Store(root / ".trials", root / ".cohorts"), adopted, METHOD))
    assert {row.labelled for row in again} == {None}
    assert [row.text() | {"labelled": str(LABELLED)} for row in again] == [
        {name: text for name, text in row.items() if name != "seal"} for row in parse_rows(whole)
    ]


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
    assert "is not what dvc.lock and SHA256SUMS say" in adopted.refused[0]


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
    rows = [row for row in rows if not metric_of(row["metric"]).counts]
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
    assert len(list(root.glob(".trials.aside-*"))) == 1
    again = Store(root / ".trials", root / ".cohorts")
    for item in plan.trials(lambda cell: cell.key.method == METHOD).values():
        assert again.ok("trial", item.id) is None
        finish(again, item, value=0.5 if item.spec["repeat"] else 0.6)
    write_trials(plan, root, again, type(adopt(plan, root))(), METHOD)
    result = compare(root, "miniature", {item.id for item in plan.items.values()})
    rows = read_rows(root / f"results/miniature/trials/{METHOD}.csv")
    moved = sum(row["repeat"] == "0" and not metric_of(row["metric"]).counts for row in rows)
    assert 0 < moved < len(rows) / 2
    assert (result.compared, result.bit_equal) == (len(rows), len(rows) - moved)
    assert result.different == moved, "a spread of zero allows no other value"
    end_from_scratch(root)
    assert digest(plan.parameters) == digest(project.plan(root, repeats=3).parameters)


def test_within_noise_is_the_prediction_interval_of_the_committed_repeats(root):
    from harness.reproduction import _within

    repeats = [0.80, 0.81, 0.79, 0.80, 0.82, 0.78, 0.80, 0.81, 0.79, 0.80]
    # mean .80, s = .01155, t(9, .975) = 2.262: half-width 2.262 · .01155 · sqrt(1.1) = .0274
    assert _within(0.8273, repeats)
    assert not _within(0.8275, repeats)
    assert not _within(0.80, [0.80])


def test_a_trial_run_again_in_a_fresh_clone_leaves_the_mean_over_all_that_stand(root):
    plan, _ = committed(root)
    before = (root / f"results/miniature/resamples/{METHOD}.npz").read_bytes()
    store = Store(root / ".trials", root / ".cohorts")
    finish(store, mine(plan)[0])
    write_trials(plan, root, store, adopt(plan, root), METHOD)
    assert (root / f"results/miniature/resamples/{METHOD}.npz").read_bytes() == before


def test_a_trial_in_the_committed_mean_is_not_counted_twice_when_the_stage_runs_again(root):
    committed(root)
    more = project.plan(root, repeats=5)
    store = Store(root / ".trials", root / ".cohorts")
    for item in mine(more):
        if item.spec["repeat"] >= 3:
            finish(store, item)
    path = write_trials(more, root, store, adopt(more, root), METHOD)
    once = {name: vector.copy() for name, vector in means(root).items()}
    assert {int(count) for name, count in once.items() if name.startswith("count|")} == {5}
    lock(root, path)  # what dvc repro does next
    write_trials(more, root, store, adopt(more, root), METHOD)
    for name, vector in means(root).items():
        np.testing.assert_array_equal(vector, once[name])
    whole = Store(root / "whole", root / ".cohorts")
    for item in mine(more):
        finish(whole, item)
    write_trials(more, root, whole, adopt(more, root), METHOD)
    for name, vector in means(root).items():
        np.testing.assert_allclose(vector, once[name], rtol=1e-12)


def test_a_mean_over_a_part_of_the_trials_that_stand_is_left_out(root):
    committed(root)
    fewer = project.plan(root, repeats=2)
    store = Store(root / ".trials", root / ".cohorts")
    one = mine(fewer)[0]
    finish(store, one)
    write_trials(fewer, root, store, adopt(fewer, root), METHOD)
    assert means(root) == {}, "a committed mean of three does not tell that of two, and one alone is not it"


def test_what_was_trusted_stays_adoptable_after_a_run_rewrote_it(root):
    plan, path = committed(root)
    trusted = path.read_bytes()
    more = project.plan(root, repeats=4)
    session = Session(root, more.parameters)
    session.__dict__.update(plan=more, store=Store(root / ".trials", root / ".cohorts"), adopted=adopt(more, root))
    one = next(item for item in mine(more) if item.spec["repeat"] == 3)
    finish(session.store, one)
    refresh(session.plan, session.root, session.store, session.adopted, Summary(attempts=1, done={one.id}))
    assert path.read_bytes() != trusted
    adopted = adopt(more, root)
    assert adopted.trial_ids == {item.id for item in mine(plan)}
    assert adopted.refused == []
    rows = read_rows(write_trials(more, root, session.store, adopted, METHOD))
    values = {row["trial_id"] for row in rows if row["value"]}
    assert values == {item.id for item in mine(plan)} | {one.id}


def test_a_kept_copy_that_was_altered_vouches_for_nothing(root):
    plan, _ = committed(root)
    store = Store(root / ".trials", root / ".cohorts")
    finish(store, mine(plan)[0], value=0.25)
    write_trials(plan, root, store, adopt(plan, root), METHOD)
    (copy,) = (root / ".trials" / "adopted").rglob(f"trials/{METHOD}-*.csv")
    assert adopt(plan, root).rows
    copy.write_text(copy.read_text() + "\n")
    assert not adopt(plan, root).rows


@pytest.mark.parametrize("damage", ["truncated", "absent"])
def test_rows_are_not_adopted_beside_damaged_or_absent_resamples(root, damage):
    plan, _ = committed(root)
    archive = root / f"results/miniature/resamples/{METHOD}.npz"
    if damage == "truncated":
        archive.write_bytes(archive.read_bytes()[:100])
    else:
        archive.unlink()
    adopted = adopt(plan, root)
    assert not adopted.rows
    assert [f"resamples/{METHOD}.npz" in sentence for sentence in adopted.refused] == [True]
    assert "restore the file with git" in adopted.refused[0]
    write_trials(plan, root, Store(root / ".trials", root / ".cohorts"), adopted, METHOD)


def test_an_unreadable_archive_of_evidence_maps_counts_as_absent(root):
    plan = project.plan(root)
    path = root / f"results/miniature/localization/{METHOD}.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK\x03\x04 and no more")
    write_localization(plan, root, Store(root / ".trials", root / ".cohorts"), METHOD)
    with np.load(path) as archive:
        assert archive.files == []


def test_the_manifest_of_the_planned_cohort_stays_in_a_fresh_clone(root):
    plan = project.plan(root)
    empty = Store(root / ".trials", root / ".cohorts")
    path = root / "results/miniature/cohorts/montgomery.json"
    content = json.dumps({"status": "ok", "id": plan.cohorts["montgomery"].id, "train": 30})
    write_atomically(path, content)
    write_cohort(plan, root, empty, "montgomery")
    assert path.read_text() == content
    write_atomically(path, content.replace(plan.cohorts["montgomery"].id, "0" * 64))
    write_cohort(plan, root, empty, "montgomery")
    assert json.loads(path.read_text())["status"] == "missing"


def test_device_classes_do_not_depend_on_which_tasks_can_be_read_here(root):
    plan, store = filled(root)
    write_trials(plan, root, store, adopt(plan, root), METHOD)
    everywhere = device_classes(plan, root)
    assert set(everywhere.values()) == {"cpu"}
    for cell in plan.cells.values():
        cell.trials, cell.unavailable = {}, "no reader of its images is installed"
    assert device_classes(plan, root) == everywhere


def test_committed_rows_are_not_mixed_with_another_device_class(root):
    committed(root)
    more = project.plan(root, repeats=4)
    session = Session(root, more.parameters)
    session.__dict__.update(plan=more, store=Store(root / ".trials", root / ".cohorts"), adopted=adopt(more, root))
    added = [item for item in mine(more) if item.spec["repeat"] == 3]
    refuse_mixing(session.plan, session.store, session.adopted, added, {"cpu"})
    with pytest.raises(ConfigurationError, match="ran on cpu and the rest of its cell would run on cuda"):
        refuse_mixing(session.plan, session.store, session.adopted, added, {"cuda"})


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.FAILED, Status.OUT_OF_MEMORY])
def test_a_trial_without_its_phase_says_how_the_phase_ended(root, status):
    method = "dira_moco_v2"
    plan = project.plan(root, repeats=3)
    store = Store(root / ".trials", root / ".cohorts")
    finish(store, plan.phases[method, 0][0], status=status)  # the first of three: the others were never run
    rows = read_rows(write_trials(plan, root, store, adopt(plan, root), method))
    assert {(row["status"], row["value"]) for row in rows} == {(str(status), "")}
    trials = Trials(root / "results" / "miniature", [method], plan.tasks)
    for cell in trials.cells():
        runs = trials.runs(cell, plan.registry.tasks[cell.task].metric, 3)
        assert runs.lacking == {str(status): 3} and not runs.values


def test_only_phases_that_ended_ok_or_diverged_are_adopted(root):
    plan = project.plan(root)
    store = Store(root / ".trials", root / ".cohorts")
    dis, restoration, adversary = plan.phases["dira_moco_v2", 0]
    finish(store, dis)
    finish(store, restoration, status=Status.FAILED)
    lock(root, write_pretraining(plan, root, store, adopt(plan, root), "dira_moco_v2"))
    assert set(adopt(plan, root).phases) == {dis.id}
    finish(store, adversary, status=Status.DIVERGED)
    lock(root, write_pretraining(plan, root, store, adopt(plan, root), "dira_moco_v2"))
    assert set(adopt(plan, root).phases) == {dis.id, adversary.id}


def test_another_pretraining_seed_keeps_what_is_committed_of_the_first(root):
    plan = project.plan(root)
    store = Store(root / ".trials", root / ".cohorts")
    for item in plan.phases[METHOD, 0]:
        finish(store, item)
    path = write_pretraining(plan, root, store, adopt(plan, root), METHOD)
    first = json.loads(path.read_text())["pretraining_seeds"][0]
    lock(root, path)
    two = project.plan(root, pretrain_seeds=2)
    write_pretraining(two, root, Store(root / "empty", root / ".cohorts"), adopt(two, root), METHOD)
    seeds = json.loads(path.read_text())["pretraining_seeds"]
    assert seeds[0] == first
    assert {phase["status"] for phase in seeds[1]["phases"]} == {"missing"}


def test_drivers_that_end_at_once_write_whole_files_and_lose_no_entry(root):
    plan = project.plan(root, repeats=3)
    store = Store(root / ".trials", root / ".cohorts")
    methods = ("random", METHOD, "moco_v2_dir", "dira_moco_v2")
    for method in methods:
        for item in plan.trials(lambda cell, method=method: cell.key.method == method).values():
            finish(store, item, host=method)
    errors: list[BaseException] = []

    def end(method):
        try:
            for _ in range(3):
                write_trials(plan, root, store, adopt(plan, root), method)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=end, args=(method,)) for method in methods * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    environments = json.loads((root / "results/miniature/provenance/environments.json").read_text())
    assert {facts["host"] for facts in environments.values()} == set(methods)
    assert not list((root / "results").rglob(".*"))


def test_a_second_run_from_scratch_keeps_what_the_first_set_aside(root):
    for value in (0.5, 0.6):
        filled(root, value=value)
        assert begin_from_scratch(root, "miniature")
        assert not list((root / ".trials").rglob("record.json"))
        end_from_scratch(root)
    aside = [path for path in root.glob(".trials.aside-*") if list(path.rglob("record.json"))]
    assert len(aside) == 2


@pytest.mark.parametrize("when", range(3))
def test_a_run_from_scratch_that_is_killed_at_its_beginning_begins_anew_and_loses_nothing(root, monkeypatch, when):
    plan, store = filled(root)
    write_trials(plan, root, store, adopt(plan, root), METHOD)
    (root / ".cohorts" / "one").mkdir(parents=True)
    calls = iter(range(3))
    rename = Path.rename

    def killed(self, target):
        if next(calls) == when:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            begin_from_scratch(root, "miniature")
    assert begin_from_scratch(root, "miniature")
    assert (root / ".trials" / "committed" / "trials" / f"{METHOD}.csv").is_file()
    (aside,) = (path for path in root.glob(".trials.aside-*") if list(path.rglob("record.json")))
    assert len(list(aside.rglob("record.json"))) == len(mine(plan))
    assert not (root / ".cohorts").exists() and len(list(root.glob(".cohorts.aside-*/one"))) == 1
    assert not list(root.glob(".trials.begun-*"))


@pytest.mark.parametrize(
    ("name", "damage", "found"),
    [
        (f"{METHOD}.csv", lambda text: text.replace(",2.0,", ",soon,", 1), "could not convert"),
        (f"{METHOD}.csv", lambda text: text.replace(",2.0,", ",nan,", 1), "expected seconds from 0"),
        (f"{METHOD}.csv", lambda text: text.replace(",duration_seconds", "", 1), "a row has"),
        (f"{METHOD}.csv", lambda text: f"<<<<<<< HEAD\n{text}", "a row has"),
        ("environments.json", lambda text: text[:-10], "is no JSON object"),
        ("environments.json", lambda text: "[]", "found list"),
    ],
)
def test_damaged_provenance_is_named_in_one_sentence(root, name, damage, found):
    plan, store = filled(root)
    write_trials(plan, root, store, adopt(plan, root), METHOD)
    path = root / "results" / "miniature" / "provenance" / name
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=found) as refused:
        write_trials(plan, root, store, adopt(plan, root), METHOD)
    assert str(path) in str(refused.value)
    if path.suffix == ".csv":
        with pytest.raises(DataError, match=found):
            measured_seconds(plan, root, store, mine(plan))
