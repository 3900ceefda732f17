"""When, where and for how long each trial ran: alone outside every claim of byte-identity."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.identity import digest
from harness.plan import Cell, Plan
from harness.published import CellKey
from harness.results.files import profile_folder, read_rows, table
from harness.results.standing import representing
from harness.results.table import read_trial_rows
from harness.spec import Item, Kind
from harness.store import Store
from harness.store.committed import replace

PROVENANCE_COLUMNS = (
    "trial_id", "ordinal", "started", "duration_seconds", "processor_seconds", "device_class", "device_model",
    "executor", "environment",
)  # fmt: skip
KINDS: tuple[Kind, ...] = ("phase", "trial")
ENVIRONMENT = (
    "arithmetic",
    "git",
    "host",
    "instruction_set",
    "libraries",
    "platform",
    "processor",
    "python",
    "threads",
    "workers",
)


def write_provenance(root: Path, path: Path, cells: list[Cell], store: Store) -> None:
    """Write a row a trial; what many share (libraries, git state, machine) stands once, in ``environments.json``."""
    shared = path.parent / "environments.json"
    environments = _environments(shared)
    known = {row["trial_id"]: row for row in read_provenance(path)} if path.is_file() else {}
    rows: list[dict[str, Any]] = []
    for cell in cells:
        for item in cell.trials.values():
            record = representing(store, "trial", item.id)
            if record is None:
                if item.id in known:
                    rows.append(known[item.id])
                continue
            facts = record.provenance
            environment = {name: facts[name] for name in ENVIRONMENT if name in facts}
            name = digest(json.loads(json.dumps(environment, default=str)))[:12]
            environments[name] = environment
            rows.append({
                "trial_id": item.id,
                "ordinal": record.ordinal,
                **{column: facts.get(column, "") for column in PROVENANCE_COLUMNS[2:-1]},
                "environment": name,
            })  # fmt: skip
    replace(root, path, table(PROVENANCE_COLUMNS, rows))
    used = {row["environment"] for file in path.parent.glob("*.csv") for row in read_provenance(file)}
    kept = {name: environments[name] for name in sorted(environments) if name in used}
    replace(root, shared, json.dumps(kept, indent=1, sort_keys=True, default=str) + "\n")


def read_provenance(path: Path) -> list[dict[str, str]]:
    """Read a provenance file; values stay text.

    Raises:
        DataError: If it cannot be read, lacks a column or a value, or holds a duration that is none.
    """
    try:
        rows = read_rows(path)
        for row in rows:
            if row.keys() != set(PROVENANCE_COLUMNS) or None in row.values():
                raise ValueError(f"a row has {len(row)} columns, expected {', '.join(PROVENANCE_COLUMNS)}")
            if row["duration_seconds"] and not 0 <= float(row["duration_seconds"]) < math.inf:
                raise ValueError(f"found duration_seconds {row['duration_seconds']}, expected seconds from 0")
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f'{path} is no provenance of trials ({error}): restore it with git, or remove it and run "dvc repro".'
        ) from None
    return rows


def _environments(path: Path) -> dict[str, object]:
    """Read ``environments.json``; empty if it is absent."""
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
        if not isinstance(found, dict):
            raise ValueError(f"found {type(found).__name__}")
    except (OSError, ValueError) as error:
        raise DataError(
            f'{path} is no JSON object ({error}): restore it with git, or remove it and run "dvc repro".'
        ) from None
    return found


def trial_devices(root: Path, profile: str) -> dict[str, str]:
    """Return trial id → the device class it ran on, from the provenance files."""
    return {
        row["trial_id"]: row["device_class"]
        for path in sorted((profile_folder(root, profile) / "provenance").glob("*.csv"))
        for row in read_provenance(path)
        if row["device_class"]
    }


def device_classes(plan: Plan, root: Path) -> dict[CellKey, str]:
    """Return which device classes ran each cell: ``cpu``, ``cuda`` or ``cpu+cuda``.

    Files alone are asked, not the plan: where a task's images cannot be read the plan holds no trials of it.
    """
    ran = trial_devices(root, plan.profile)
    found: dict[CellKey, set[str]] = {}
    for path in sorted((profile_folder(root, plan.profile) / "trials").glob("*.csv")):
        for row in read_trial_rows(path):
            if row.trial_id in ran:
                found.setdefault(row.cell, set()).add(ran[row.trial_id])
    return {key: "+".join(sorted(classes)) for key, classes in found.items()}


def measured_seconds(plan: Plan, root: Path, store: Store, items: Iterable[Item]) -> dict[str, float]:
    """Estimate seconds of one slot for items, by device class, from measured durations of their like.

    Durations come from the committed provenance and from the store; an item whose like was never measured on a device
    class counts with the mean of those that were. Empty if nothing was measured.
    """
    by_class: dict[str, dict[str, list[float]]] = {}
    likes = _likes(plan)
    for path in sorted((profile_folder(root, plan.profile) / "provenance").glob("*.csv")):
        for row in read_provenance(path):
            if row["trial_id"] in likes and row["duration_seconds"]:
                group = by_class.setdefault(row["device_class"], {}).setdefault(likes[row["trial_id"]], [])
                group.append(float(row["duration_seconds"]))
    if not by_class:
        return {}
    wanted = Counter(likes[item.id] for item in items if item.kind == "trial")
    estimate: dict[str, float] = {}
    for device_class, groups in by_class.items():
        means = {like: sum(seconds) / len(seconds) for like, seconds in groups.items()}
        overall = sum(means.values()) / len(means)
        estimate[device_class] = sum(means.get(like, overall) * count for like, count in wanted.items())
    return estimate


def processor_hours(plan: Plan, root: Path, store: Store) -> dict[str, float]:
    """Return the processor hours of the attempts that represent planned phases and trials, by kind.

    Records say them; of a trial without one, the committed provenance. A phase whose record is not here counts nothing.
    """
    committed = {
        row["trial_id"]: row["processor_seconds"]
        for path in sorted((profile_folder(root, plan.profile) / "provenance").glob("*.csv"))
        for row in read_provenance(path)
    }
    hours = {"phase": 0.0, "trial": 0.0}
    attempted = {kind: set(store.ids(kind)) for kind in KINDS}
    for item in plan.items.values():
        if item.kind in hours and (item.id in attempted[item.kind] or item.id in committed):
            record = representing(store, item.kind, item.id)
            spent = record.provenance.get("processor_seconds") if record else committed.get(item.id)
            hours[item.kind] += float(spent or 0.0) / 3600
    return hours


def _likes(plan: Plan) -> dict[str, str]:
    """Return the id of each trial → the name of the group whose durations resemble each other."""
    likes: dict[str, str] = {}
    for cell in plan.cells.values():
        like = f"trial {cell.key.task} {cell.key.label_fraction}"
        likes.update((item.id, like) for item in cell.trials.values())
    return likes
