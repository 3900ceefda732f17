"""What a run leaves in ``results/``: small byte-stable text files, made from records and nothing else.

For each profile: ``cohorts/<task>.json``, ``pretraining/<method>.json``, ``trials/<method>.csv``,
``resamples/<method>.npz``, ``localization/<method>.npz``, ``curves/<method>.csv`` and, alone outside every claim of
byte-identity, ``provenance/<method>.csv``. The others hold no time, no host and no attempt.

**Adoption.** In a fresh clone the committed rows are as good as a record: a row whose trial id is still planned is
kept, if its file is exactly what ``dvc.lock`` says. An ``ok`` attempt in the store always wins over a committed row.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.identity import digest
from harness.plan import Cell, Plan, TrialKey
from harness.published import CellKey
from harness.spec import Item, Kind, Record, Status
from harness.store import Store
from harness.yaml_files import load_yaml

if TYPE_CHECKING:
    import numpy as np

TRIAL_COLUMNS = (
    "method", "task", "label_fraction", "pretrain_seed", "repeat", "metric", "value", "status", "cohort", "trial_id",
)  # fmt: skip
PROVENANCE_COLUMNS = (
    "trial_id", "ordinal", "started", "duration_seconds", "processor_seconds", "device_class", "device_model",
    "executor", "environment",
)  # fmt: skip
ENVIRONMENT = ("git", "host", "instruction_set", "libraries", "platform", "processor", "python", "threads", "workers")
SCORED = ("ok", "diverged_scored")


def profile_folder(root: Path, profile: str) -> Path:
    """Return ``results/<profile>``."""
    return root / "results" / profile


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; an unchanged file is left alone."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


@dataclass
class Adopted:
    """Committed results that still stand for planned work.

    Attributes:
        rows: Trial id → its rows of ``trials.csv``, by metric, in the file's order.
        phases: Ids of phases whose pretraining file is committed.
        refused: Files that are not what ``dvc.lock`` says, one sentence each.
    """

    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    phases: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    @property
    def trial_ids(self) -> set[str]:
        """Ids of the trials that need not be run."""
        return set(self.rows)


def locked_digests(root: Path) -> dict[str, str]:
    """Return path → MD5 of every output that ``dvc.lock`` records."""
    lock = root / "dvc.lock"
    if not lock.is_file():
        return {}
    stages = load_yaml(lock).get("stages") or {}
    return {
        out["path"]: out.get("md5", "")
        for stage in stages.values()
        for out in stage.get("outs", [])
        if isinstance(out, dict) and "path" in out
    }


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def adopt(plan: Plan, root: Path) -> Adopted:
    """Find the committed rows and phases that are still planned and unaltered."""
    adopted = Adopted()
    locked = locked_digests(root)
    planned = {item.id for item in plan.items.values()}
    folder = profile_folder(root, plan.profile)

    def trusted(path: Path) -> bool:
        name = path.relative_to(root).as_posix()
        if not path.is_file() or name not in locked:
            return False
        if _md5(path) != locked[name]:
            adopted.refused.append(f"{name} is not what dvc.lock says; its rows are not adopted and will be run again.")
            return False
        return True

    for method in plan.methods:
        path = folder / "trials" / f"{method}.csv"
        if trusted(path):
            for row in read_rows(path):
                if row["status"] in SCORED and row["trial_id"] in planned:
                    adopted.rows.setdefault(row["trial_id"], []).append(row)
        path = folder / "pretraining" / f"{method}.json"
        if trusted(path):
            seeds = json.loads(path.read_text())["pretraining_seeds"]
            adopted.phases |= {phase["id"] for chain in seeds for phase in chain["phases"]} & planned
    return adopted


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a ``trials.csv``; values stay text, as written."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _table(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def speaks_for(store: Store, kind: Kind, identity: str) -> Record | None:
    """Return the record that speaks for an item.

    It is the earliest ok one, else one that diverged with a score, else the last.
    """
    found = store.ok(kind, identity)
    if found is not None:
        return found
    attempts = store.attempts(kind, identity)
    scored = [record for record in attempts if record.status is Status.DIVERGED and record.values]
    return scored[0] if scored else (attempts[-1] if attempts else None)


def from_scratch_marker(root: Path) -> Path:
    """Return the file that exists while a run from scratch is under way: nothing is adopted meanwhile."""
    return root / ".trials" / "from-scratch.json"


def measured_seconds(plan: Plan, root: Path, store: Store, items: Iterable[Item]) -> dict[str, float]:
    """Estimate seconds of one slot for items, by device class, from measured durations of their like.

    Durations come from the committed provenance and from the store; an item whose like was never measured on a device
    class counts with the mean of those that were. Empty if nothing was measured.
    """
    by_class: dict[str, dict[str, list[float]]] = {}
    titles = {item.id: _like(item) for item in plan.items.values()}
    for path in sorted((profile_folder(root, plan.profile) / "provenance").glob("*.csv")):
        for row in read_rows(path):
            if row["trial_id"] in titles and row["duration_seconds"]:
                group = by_class.setdefault(row["device_class"], {}).setdefault(titles[row["trial_id"]], [])
                group.append(float(row["duration_seconds"]))
    estimate: dict[str, float] = {}
    for device_class, groups in by_class.items():
        means = {like: sum(seconds) / len(seconds) for like, seconds in groups.items()}
        overall = sum(means.values()) / len(means)
        estimate[device_class] = sum(means.get(_like(item), overall) for item in items if item.kind == "trial")
    return estimate


def _like(item: Item) -> str:
    """Name the group of items whose durations resemble each other."""
    if item.kind == "trial":
        return f"trial {item.spec['task']} {item.spec['label_fraction']}"
    return f"{item.kind} {item.spec.get('phase', item.spec.get('task', ''))}"


def trial_status(record: Record | None) -> str:
    """Return the word that ``trials.csv`` prints for the record that speaks for a trial."""
    if record is None:
        return "missing"
    if record.status is Status.DIVERGED and record.values:
        return "diverged_scored"
    return str(record.status)


def _cell_rows(plan: Plan, cell: Cell, store: Store, adopted: Adopted) -> Iterable[dict[str, Any]]:
    metrics = plan.tasks[cell.key.task].metrics
    for key, item in cell.trials.items():
        base = {
            "method": key.method,
            "task": key.task,
            "label_fraction": repr(key.label_fraction),
            "pretrain_seed": key.pretrain_seed,
            "repeat": key.repeat,
            "cohort": item.spec["cohort"][:12],
            "trial_id": item.id,
        }
        record = speaks_for(store, "trial", item.id)
        status = trial_status(record)
        if status not in SCORED and item.id in adopted.rows:
            yield from adopted.rows[item.id]
            continue
        for metric in metrics:
            value = record.values.get(metric) if record is not None and status in SCORED else None
            yield {**base, "metric": metric, "value": "" if value is None else repr(float(value)), "status": status}


def _unavailable_rows(plan: Plan, cell: Cell) -> Iterable[dict[str, Any]]:
    for repeat in range(plan.parameters.repeats):
        for metric in plan.tasks[cell.key.task].metrics:
            yield {
                "method": cell.key.method,
                "task": cell.key.task,
                "label_fraction": repr(cell.key.label_fraction),
                "pretrain_seed": 0,
                "repeat": repeat,
                "metric": metric,
                "value": "",
                "status": "unavailable",
                "cohort": "",
                "trial_id": "",
            }


def write_trials(plan: Plan, root: Path, store: Store, adopted: Adopted, method: str) -> Path:
    """Write ``trials/<method>.csv``, ``resamples/<method>.npz`` and ``provenance/<method>.csv``; return the first."""
    rows: list[dict[str, Any]] = []
    cells = [cell for cell in plan.cells.values() if cell.key.method == method and not cell.skipped]
    for cell in cells:
        rows += _unavailable_rows(plan, cell) if cell.unavailable else _cell_rows(plan, cell, store, adopted)
    folder = profile_folder(root, plan.profile)
    _write_resamples(plan, folder / "resamples" / f"{method}.npz", cells, store, adopted)
    _write_provenance(folder / "provenance" / f"{method}.csv", cells, store)
    path = folder / "trials" / f"{method}.csv"
    write_atomically(path, _table(TRIAL_COLUMNS, rows))
    return path


def _write_provenance(path: Path, cells: list[Cell], store: Store) -> None:
    """Write a row a trial; what many share (libraries, git state, machine) stands once, in ``environments.json``."""
    shared = path.parent / "environments.json"
    environments: dict[str, Any] = json.loads(shared.read_text()) if shared.is_file() else {}
    known = {row["trial_id"]: row for row in read_rows(path)} if path.is_file() else {}
    rows: list[dict[str, Any]] = []
    for cell in cells:
        for item in cell.trials.values():
            record = speaks_for(store, "trial", item.id)
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
    write_atomically(path, _table(PROVENANCE_COLUMNS, rows))
    used = {row["environment"] for file in path.parent.glob("*.csv") for row in read_rows(file)}
    kept = {name: environments[name] for name in sorted(environments) if name in used}
    write_atomically(shared, json.dumps(kept, indent=1, sort_keys=True, default=str) + "\n")


def device_classes(plan: Plan, root: Path) -> dict[CellKey, str]:
    """Return which device classes ran each cell, from the provenance files: ``cpu``, ``cuda`` or ``cpu+cuda``."""
    ran = {
        row["trial_id"]: row["device_class"]
        for path in sorted((profile_folder(root, plan.profile) / "provenance").glob("*.csv"))
        for row in read_rows(path)
    }
    found = {
        cell.key: sorted({ran[item.id] for item in cell.trials.values() if ran.get(item.id)})
        for cell in plan.cells.values()
    }
    return {key: "+".join(classes) for key, classes in found.items() if classes}


def resample_key(key: TrialKey, metric: str) -> str:
    """Return the name of a cell's vector in ``resamples/<method>.npz``."""
    return f"{key.task}|{key.label_fraction!r}|{key.pretrain_seed}|{metric}"


def _write_resamples(plan: Plan, path: Path, cells: list[Cell], store: Store, adopted: Adopted) -> None:
    """For each cell and pretraining seed: the mean over repeats of the metric on each patient resample."""
    import numpy as np

    committed: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    if path.is_file() and adopted.rows:
        with np.load(path) as archive:
            committed = {name: archive[name] for name in archive.files if not name.startswith("count|")}
            counts = {
                name.removeprefix("count|"): int(archive[name]) for name in archive.files if name.startswith("count|")
            }
    vectors: dict[str, np.ndarray] = {}
    for cell in cells:
        metric = plan.registry.tasks[cell.key.task].metric
        groups: dict[str, list[Item]] = {}
        for key, item in cell.trials.items():
            groups.setdefault(resample_key(key, metric), []).append(item)
        for name, items in groups.items():
            fresh: list[np.ndarray] = []
            kept = 0
            for item in items:
                record = speaks_for(store, "trial", item.id)
                if trial_status(record) in SCORED and record is not None:
                    vector = store.arrays(record).get("resamples")
                    if vector is not None:
                        fresh.append(np.asarray(vector, dtype=np.float64))
                elif item.id in adopted.rows:
                    kept += 1
            total = sum(fresh) if fresh else 0.0
            if kept and counts.get(name) == kept:
                total = total + committed[name] * kept
            elif kept:
                kept = 0  # the committed mean covers trials that are no longer planned: it says nothing about these
                if not fresh:
                    continue
            if fresh or kept:
                vectors[name] = (np.asarray(total) / (len(fresh) + kept)).astype(np.float64)
                vectors[f"count|{name}"] = np.asarray(len(fresh) + kept)
                if kept and not fresh:
                    vectors[name] = committed[name]
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **dict(sorted(vectors.items())))
    write_atomically(path, stream.getvalue())


SHOWN = 24  # annotated pairs of each class and task that a panel may be chosen from
PER_PAIR = ("cams", "class", "rank", "positives", "overlap", "found")


def write_localization(plan: Plan, root: Path, store: Store, method: str) -> Path:
    """Write ``localization/<method>.npz``: evidence maps of the first repeat, for panels of the report.

    For each task, up to ``SHOWN`` annotated (image, class) pairs of each class, drawn by a hash of case and class and
    so the same for every method, with their map, boxes, logits and the rank of the image; and the image itself where a
    program made it: real images never leave their data root. The archive is empty for a method that was not localized.
    What is already there stays if it came from the planned trial and the store does not hold that trial or its images.
    """
    import numpy as np

    from harness.pixels import Pixels

    path = profile_folder(root, plan.profile) / "localization" / f"{method}.npz"
    before: dict[str, np.ndarray] = {}
    if path.is_file():
        with np.load(path, allow_pickle=False) as archive:
            before = {name: archive[name] for name in archive.files}
    arrays: dict[str, np.ndarray] = {}
    for cell in plan.cells.values():
        first = min(cell.trials, key=lambda key: (key.pretrain_seed, key.repeat), default=None)
        if cell.key.method != method or cell.key.label_fraction != 1.0 or first is None:
            continue
        item, task = cell.trials[first], cell.key.task
        record = speaks_for(store, "trial", item.id)
        cohort = store.ok("cohort", plan.cohorts[task].id)
        if record is None or trial_status(record) not in SCORED or cohort is None:
            if str(before.get(f"{task}|trial_id", "")) == item.id:
                arrays |= {name: array for name, array in before.items() if name.startswith(f"{task}|")}
            continue
        if "arrays.npz" not in record.files:
            continue
        stored = store.arrays(record)
        if "localization_cams" in stored:
            chosen = _shown_pairs(stored)
            if plan.tasks[task].synthetic:
                rows = stored["localization_row"][chosen["image"]]
                chosen["pixels"] = np.asarray(Pixels(store.folder(cohort)).images[rows])
            chosen["trial_id"] = np.asarray(item.id)
            arrays |= {f"{task}|{name}": array for name, array in chosen.items()}
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **dict(sorted(arrays.items())))
    write_atomically(path, stream.getvalue())
    return path


def _shown_pairs(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what is kept of the pairs that may be shown, in the order of the draw within each class."""
    import numpy as np

    arrays = {name.removeprefix("localization_"): array for name, array in stored.items()}
    names = [name.decode() for name in arrays["class_names"]]
    cases = [case.decode() for case in arrays["case"]]

    def draw(pair: int) -> tuple[int, str]:
        label = int(arrays["class"][pair])
        return label, hashlib.sha256(f"{cases[arrays['image'][pair]]}|{names[label]}".encode()).hexdigest()

    order: list[int] = []
    taken: dict[int, int] = {}
    for pair in sorted(range(len(arrays["class"])), key=draw):
        label = int(arrays["class"][pair])
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= SHOWN:
            order.append(pair)
    image = arrays["image"][order]
    boxes = [np.flatnonzero(arrays["box_pair"] == pair) for pair in order]
    return {
        **{name: arrays[name][order] for name in PER_PAIR},
        "image": image,
        "case": arrays["case"][image],
        "logits": arrays["logits"][image].astype(np.float32),
        "class_names": arrays["class_names"],
        "side": arrays["side"],
        "boxes": arrays["boxes"][np.concatenate(boxes)] if boxes else arrays["boxes"][:0],
        "box_pair": np.repeat(np.arange(len(order), dtype=np.int32), [len(b) for b in boxes]),
    }


def write_cohort(plan: Plan, root: Path, store: Store, task: str) -> Path:
    """Write ``cohorts/<task>.json``: the manifest of the cohort, or why it is unavailable."""
    path = profile_folder(root, plan.profile) / "cohorts" / f"{task}.json"
    resolved = plan.tasks[task]
    base: dict[str, Any] = {
        "task": task,
        "synthetic": resolved.synthetic,
        "stamp": resolved.stamp,
        "split_published": resolved.split_published,
    }
    item = plan.cohorts.get(task)
    record = store.ok("cohort", item.id) if item else None
    if item is None:
        content = {**base, "status": "unavailable", "reason": resolved.unavailable}
    elif record is None:
        content = {**base, "status": "missing", "id": item.id}
    else:
        manifest = json.loads((store.folder(record) / "manifest.json").read_text())
        content = {**manifest, **base, "status": "ok", "id": item.id}
    write_atomically(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return path


def write_pretraining(plan: Plan, root: Path, store: Store, adopted: Adopted, method: str) -> Path:
    """Write ``pretraining/<method>.json`` and ``curves/<method>.csv``.

    They hold phases, budgets, selected steps and digests of weights; no time, no host.
    """
    folder = profile_folder(root, plan.profile)
    path = folder / "pretraining" / f"{method}.json"
    resolved = plan.methods[method]
    chains = {index: chain for (name, index), chain in plan.phases.items() if name == method}
    wanted = {item.id for chain in chains.values() for item in chain}
    if wanted and wanted <= adopted.phases and not all(store.ok("phase", identity) for identity in wanted):
        return path  # committed, unaltered and still planned: it stands
    seeds, curve = [], []
    for index, chain in sorted(chains.items()):
        phases = []
        for item in chain:
            record = speaks_for(store, "phase", item.id)
            status = "missing" if record is None else str(record.status)
            facts = dict(record.facts) if record and record.status in (Status.OK, Status.DIVERGED) else {}
            phases.append({
                "name": item.spec["phase"],
                "id": item.id,
                "parent": item.spec["parent"],
                "status": status,
                "configuration": item.spec["configuration"],
                **facts,
            })  # fmt: skip
            if record and record.status is Status.OK:
                curve += _curve_rows(item, index, store.curve(record))
        seeds.append({"pretrain_seed": index, "phases": phases})
    content = {
        "method": method,
        "label": plan.registry.methods[method].label,
        "unavailable": resolved.unavailable,
        "reinitialised": resolved.reinitialised,
        "budget": resolved.budget,
        "encoder": resolved.encoder,
        "pretraining_seeds": seeds,
    }
    write_atomically(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    columns = ("pretrain_seed", "phase", "phase_id", "step", "name", "value")
    write_atomically(folder / "curves" / f"{method}.csv", _table(columns, curve))
    return path


def _curve_rows(item: Item, index: int, curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Thin a curve to at most 100 points and write it long: one value a row."""
    stride = max(1, -(-len(curve) // 100))
    rows = []
    for point in curve[::stride]:
        for name in sorted(set(point) - {"step"}):
            if isinstance(point[name], int | float):
                rows.append({
                    "pretrain_seed": index,
                    "phase": item.spec["phase"],
                    "phase_id": item.id[:12],
                    "step": point["step"],
                    "name": name,
                    "value": repr(float(point[name])),
                })  # fmt: skip
    return rows
