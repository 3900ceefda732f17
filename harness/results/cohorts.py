"""The manifest of a cohort, as it was built."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from harness.plan import Plan
from harness.results.files import profile_folder
from harness.spec import Status
from harness.store import Store
from harness.store.committed import replace, standing_content
from harness.store.files import parse_json


def write_cohort(plan: Plan, root: Path, store: Store, task: str) -> Path:
    """Write ``cohorts/<task>.json``: the manifest of the cohort, or why it is unavailable.

    A manifest of the planned cohort stays where the store does not hold its images, unless it was edited; so does any
    that stands, where the images cannot be read here and nobody could write it again.
    """
    path = profile_folder(root, plan.profile) / "cohorts" / f"{task}.json"
    resolved = plan.tasks[task]
    base: dict[str, Any] = {
        "task": task,
        "synthetic": resolved.synthetic,
        "stamp": resolved.stamp,
        "split_published": resolved.split_published,
        "test_cases_published": False,
        "validation_labels": resolved.of_transfer.validation_labels,
    }
    said = {"scale": resolved.scale, "sample_note": resolved.sample_note}
    base |= {key: text for key, text in said.items() if text}  # of real images; other files stay as they were
    item = plan.cohorts.get(task)
    record = store.ok("cohort", item.id) if item else None
    if item is None:
        content = {**base, "status": str(Status.UNAVAILABLE), "reason": resolved.unavailable}
    elif record is None:
        if resolved.no_images or _is_manifest(standing_content(root, path), item.id):
            return path
        content = {**base, "status": str(Status.MISSING), "id": item.id}
    else:
        manifest = json.loads(store.checked(record, "manifest.json").read_text())
        read = manifest.get("split_sha256", {}).get("test")
        if "boxes.csv" in record.files:
            manifest["counts"] = {**manifest["counts"], **_boxes(store.checked(record, "boxes.csv"))}
        base["test_cases_published"] = read is not None and read == resolved.test_cases
        content = {**manifest, **base, "status": str(Status.OK), "id": item.id}
    replace(root, path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return path


def committed_as_planned(plan: Plan, root: Path, task: str) -> bool:
    """Say whether a cohort whose images cannot be read here is the committed one, so that its manifest stands."""
    path = profile_folder(root, plan.profile) / "cohorts" / f"{task}.json"
    return bool(plan.tasks[task].no_images) and _is_manifest(standing_content(root, path), plan.cohorts[task].id)


def _boxes(path: Path) -> dict[str, object]:
    """Count the annotated boxes of each class, and the images that have one, in the cohort's ``boxes.csv``."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    by_class = Counter(row["label"] for row in rows)
    return {"boxes_by_class": dict(sorted(by_class.items())), "boxed_images": len({row["row"] for row in rows})}


def _is_manifest(data: bytes | None, identity: str) -> bool:
    """Say whether the bytes of a file are the manifest of a cohort that was built."""
    try:
        content = parse_json(data or b"")
    except ValueError:
        return False
    return isinstance(content, dict) and (content.get("id"), content.get("status")) == (identity, Status.OK)
