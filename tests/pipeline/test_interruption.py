"""Kill it anywhere: the rerun does what is missing, and every committed file comes out with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.pipeline.clone import Clone, small, until


@pytest.fixture(scope="module")
def undisturbed(finished, tmp_path_factory):
    """A clone whose pipeline ran, stage by stage and undisturbed; no lock vouches for its results, so none is adopted."""
    clone = Clone.copied(finished, tmp_path_factory.mktemp("undisturbed") / "clone")
    (clone.root / "dvc.lock").unlink()
    return clone


def named(folder: Path, name: str) -> list[Path]:
    """List the files of a name while others make and rename folders: Path.rglob raises when one goes meanwhile."""
    return [Path(place) / name for place, _, names in os.walk(folder) if name in names]


def running(clone: Clone, kind: str) -> list[int]:
    """Return the process ids of the children that are at items of a kind now, from the claims in the store."""
    found = []
    roots = {"cohort": clone.root / ".cohorts"}.get(kind, clone.root / ".trials" / kind)
    for claim in named(roots, "progress.json"):
        if not (claim.parent / "record.json").exists():
            try:
                found.append(int(json.loads(claim.read_text())["pid"]))
            except (ValueError, KeyError, OSError):
                continue
    return [pid for pid in found if alive(pid)]


def alive(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_one(clone: Clone, kind: str) -> None:
    """Wait for a child at an item of a kind and kill it the hard way."""
    until(lambda: bool(running(clone, kind)))
    for pid in running(clone, kind)[:1]:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.thorough
def test_kills_of_workers_and_drivers_change_no_number(undisturbed, tmp_path):
    clone = small(tmp_path / "disturbed")
    driver = clone.start("dira-bench", "run", "--slots", "1")
    kill_one(clone, "phase")
    kill_one(clone, "trial")
    done_before = len(named(clone.root / ".trials" / "trial", "record.json"))
    until(lambda: len(named(clone.root / ".trials" / "trial", "record.json")) > done_before + 1)
    until(lambda: bool(running(clone, "trial")))
    orphans = running(clone, "trial")
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    until(lambda: not any(alive(pid) for pid in orphans), 20)
    records = {path: path.stat().st_mtime_ns for path in named(clone.root / ".trials", "record.json")}
    output = clone.bench("run", "--slots", "1")
    for path, modified in records.items():
        assert path.stat().st_mtime_ns == modified, "a finished attempt was touched"
    assert "failed" in output
    again = clone.bench("run")
    assert again.strip().startswith("0 of")
    clone.bench("report")
    assert clone.results() == undisturbed.results()


def test_a_truncated_record_is_set_aside_reported_and_redone(undisturbed, caplog):
    clone = undisturbed
    before = clone.results()
    record = sorted((clone.root / ".trials" / "trial").rglob("record.json"))[0]
    record.write_bytes(record.read_bytes()[:200])
    clone.inside("run")
    assert "set aside" in caplog.text
    assert list(record.parent.glob("record.json.damaged-*"))
    clone.inside("report")
    assert clone.results() == before


def test_a_finished_matrix_resumes_at_once_and_imports_no_torch(undisturbed):
    begin = time.perf_counter()
    output = undisturbed.run("python", "-X", "importtime", "-m", "harness.cli", "run")
    assert time.perf_counter() - begin < 20, "a bound against hanging, not a measurement"
    modules = {line.rpartition("|")[2].strip().split(".")[0] for line in output.splitlines() if "import time:" in line}
    assert "harness" in modules
    assert "torch" not in modules
    assert "0 of" in output


def test_workers_and_slots_change_no_number(undisturbed, tmp_path):
    trial = next(
        json.loads(path.read_text())
        for path in sorted((undisturbed.root / ".trials" / "trial").rglob("record.json"))
        if '"montgomery"' in path.read_text()
    )
    output = undisturbed.inside("run", "--trial", trial["id"], "--again", "--workers", "2")
    assert "bit-equal" in output
    assert "differs" not in output


def test_a_stage_that_leaves_a_trial_undone_is_not_locked(undisturbed):
    store = undisturbed.root / ".trials"
    weights = {path.parent: path for path in (store / "phase").rglob("encoder.safetensors")}
    trial = next(
        path
        for path in sorted((store / "trial").rglob("record.json"))
        if json.loads(path.read_text())["spec"]["method"] == "moco_v2"
    )
    needs = json.loads(trial.read_text())["needs"]
    damaged = next(path for folder, path in weights.items() if folder.parent.name in needs)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    trial.rename(trial.with_name("kept.json"))
    output = undisturbed.inside("stage", "trials", "smoke", code=2)
    assert "is neither done nor failed: needs" in output
    assert "Traceback" not in output
    undisturbed.inside("stage", "trials", "smoke")
    redone = sorted(trial.parent.parent.rglob("record.json"))[-1]
    assert json.loads(redone.read_text())["status"] == "ok"


def test_an_edited_record_fails_verify_once_and_is_redone(undisturbed):
    record = sorted((undisturbed.root / ".trials" / "trial").rglob("record.json"))[0]
    record.write_text(record.read_text().replace('"repeat": ', '"repeat": 1', 1))
    output = undisturbed.inside("verify", code=2)
    assert output.count("holds a spec whose digest is") == 1
    assert "Traceback" not in output
    undisturbed.inside("run")


def test_repeats_differ_and_random_has_an_encoder_a_repeat(undisturbed):
    facts: dict[str, dict[str, dict[str, object]]] = {}
    for path in (undisturbed.root / ".trials" / "trial").rglob("record.json"):
        record = json.loads(path.read_text())
        spec = record["spec"]
        if spec["task"] == "chestxray14" and spec["label_fraction"] == 1.0:  # an edited attempt may have been redone
            facts.setdefault(spec["method"], {})[record["id"]] = record["facts"]
    for method, by_trial in facts.items():
        records = list(by_trial.values())
        assert len(records) == 2
        for key in ("initial_head_sha256", "first_batch_sha256", "sample_order_sha256"):
            assert len({record[key] for record in records}) == 2, (method, key)
        encoders = {
            json.dumps(record.get("encoder_sha256") or record["encoder"]["encoder_sha256"]) for record in records
        }
        assert len(encoders) == (2 if method == "random" else 1)
