"""What a run leaves in ``results/``: small byte-stable text files, made from records and nothing else.

For each profile: ``cohorts/<task>.json``, ``pretraining/<method>.json``, ``trials/<method>.csv``,
``resamples/<method>.npz``, ``localization/<method>.npz``, ``curves/<method>.csv`` and, alone outside every claim of
byte-identity, ``provenance/<method>.csv``. The others hold no time, no host and no attempt.

**Adoption.** In a fresh clone the committed rows are as good as a record: a row whose trial id is still planned is
kept, if its file and the resamples beside it are exactly what ``dvc.lock`` says, in place or in the copy that the store
keeps of a trusted file before it is replaced. An ``ok`` attempt in the store always wins over a committed row.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.identity import digest
from harness.plan import Cell, Plan, TrialKey
from harness.published import CellKey
from harness.spec import Item, Kind, Record, Status
from harness.store import Store
from harness.store.committed import assembling, distrust, keep, trusted
from harness.store.files import write_whole, writing

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
CURVE_COLUMNS = ("pretrain_seed", "phase", "phase_id", "step", "name", "value")
SCORED = ("ok", "diverged_scored")


def profile_folder(root: Path, profile: str) -> Path:
    """Return ``results/<profile>``."""
    return root / "results" / profile


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; an unchanged file is left alone."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


def _replace(root: Path, path: Path, content: str | bytes) -> None:
    """Write a results file; what ``dvc.lock`` vouches for is kept, so that it stays adoptable."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() != data:
        keep(root, path)
    write_atomically(path, data)


@dataclass
class Adopted:
    """Committed results that still stand for planned work.

    Attributes:
        rows: Trial id → its rows of ``trials.csv``, by metric, in the file's order.
        phases: Id of a phase that ended ok, or diverged → what the committed pretraining file says of it.
        resamples: Method → its committed ``resamples.npz``, as bytes.
        members: Method → name in ``resamples.npz`` → trials whose mean it is, planned or not.
        refused: Files that are not what ``dvc.lock`` says, one sentence each.
    """

    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    phases: dict[str, dict[str, Any]] = field(default_factory=dict)
    resamples: dict[str, bytes] = field(default_factory=dict)
    members: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def trial_ids(self) -> set[str]:
        """Ids of the trials that need not be run."""
        return set(self.rows)


def adopt(plan: Plan, root: Path) -> Adopted:
    """Find the committed rows and phases that are still planned and unaltered."""
    adopted = Adopted()
    planned = {item.id for item in plan.items.values()}
    for method in plan.methods:
        _adopt_trials(adopted, root, plan.profile, method, planned)
        _adopt_phases(adopted, root, plan.profile, method, planned)
    return adopted


def _adopt_trials(adopted: Adopted, root: Path, profile: str, method: str, planned: set[str]) -> None:
    """Adopt the rows of a method, if both they and the means over its repeats are what ``dvc.lock`` says."""
    folder = profile_folder(root, profile)
    table, archive = folder / "trials" / f"{method}.csv", folder / "resamples" / f"{method}.npz"
    rows, resamples = trusted(root, table), trusted(root, archive)
    if rows is None or resamples is None:
        for path in (table, archive):
            found = distrust(root, path) if trusted(root, path) is None else None
            if found:
                adopted.refused.append(
                    f"{found}; the rows of {method} are not adopted and will be run again: restore the file with git "
                    "to keep them."
                )
        return
    adopted.resamples[method] = resamples
    members = adopted.members.setdefault(method, {})
    for row in parse_rows(rows.decode()):
        if row["status"] in SCORED:
            name = "|".join(row[column] for column in ("task", "label_fraction", "pretrain_seed", "metric"))
            members.setdefault(name, set()).add(row["trial_id"])
            if row["trial_id"] in planned:
                adopted.rows.setdefault(row["trial_id"], []).append(row)


def _adopt_phases(adopted: Adopted, root: Path, profile: str, method: str, planned: set[str]) -> None:
    """Adopt the phases of a method that ended ok, or diverged, which they would again."""
    path = profile_folder(root, profile) / "pretraining" / f"{method}.json"
    content = trusted(root, path)
    if content is None:
        found = distrust(root, path)
        if found:
            adopted.refused.append(
                f"{found}; the phases of {method} are not adopted and will be run again: restore the file with git to "
                "keep them."
            )
        return
    phases = [phase for chain in json.loads(content)["pretraining_seeds"] for phase in chain["phases"]]
    adopted.phases |= {p["id"]: p for p in phases if p["status"] in ("ok", "diverged") and p["id"] in planned}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a ``trials.csv``; values stay text, as written."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def parse_rows(text: str) -> list[dict[str, str]]:
    """Read the text of a CSV file; values stay text."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


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


def _missing_status(plan: Plan, store: Store, item: Item) -> str:
    """Return the word for a trial that has no record: how the phase ended that kept it from being run, if one did."""
    for need in item.needs:
        needed = plan.items[need]
        record = speaks_for(store, "phase", need) if needed.kind == "phase" else None
        if record is not None and record.status is not Status.OK:
            return str(record.status)  # never scored, whatever values a diverged phase left
        if needed.kind == "phase" and record is None:
            return _missing_status(plan, store, needed)
    return "missing"


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
        if record is None:
            status = _missing_status(plan, store, item)
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
    folder = profile_folder(root, plan.profile)
    path = folder / "trials" / f"{method}.csv"
    cells = [cell for cell in plan.cells.values() if cell.key.method == method and not cell.skipped]
    with assembling(root):
        rows: list[dict[str, Any]] = []
        for cell in cells:
            rows += _unavailable_rows(plan, cell) if cell.unavailable else _cell_rows(plan, cell, store, adopted)
        _replace(root, folder / "resamples" / f"{method}.npz", _resamples(plan, method, cells, store, adopted))
        _write_provenance(folder / "provenance" / f"{method}.csv", cells, store)
        _replace(root, path, _table(TRIAL_COLUMNS, rows))
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


def trial_devices(root: Path, profile: str) -> dict[str, str]:
    """Return trial id → the device class it ran on, from the provenance files."""
    return {
        row["trial_id"]: row["device_class"]
        for path in sorted((profile_folder(root, profile) / "provenance").glob("*.csv"))
        for row in read_rows(path)
        if row["device_class"]
    }


def device_classes(plan: Plan, root: Path) -> dict[CellKey, str]:
    """Return which device classes ran each cell: ``cpu``, ``cuda`` or ``cpu+cuda``.

    Files alone are asked, not the plan: where a task's images cannot be read the plan holds no trials of it.
    """
    ran = trial_devices(root, plan.profile)
    found: dict[CellKey, set[str]] = {}
    for path in sorted((profile_folder(root, plan.profile) / "trials").glob("*.csv")):
        for row in read_rows(path):
            if row["trial_id"] in ran:
                key = CellKey(row["method"], row["task"], float(row["label_fraction"]))
                found.setdefault(key, set()).add(ran[row["trial_id"]])
    return {key: "+".join(sorted(classes)) for key, classes in found.items()}


def resample_key(key: TrialKey, metric: str) -> str:
    """Return the name of a cell's vector in ``resamples/<method>.npz``."""
    return f"{key.task}|{key.label_fraction!r}|{key.pretrain_seed}|{metric}"


def _resamples(plan: Plan, method: str, cells: list[Cell], store: Store, adopted: Adopted) -> bytes:
    """For each cell and pretraining seed: the mean over repeats of the metric on each patient resample."""
    import numpy as np

    committed = _arrays(adopted.resamples[method]) if method in adopted.resamples else {}
    vectors: dict[str, np.ndarray] = {}
    for cell in cells:
        metric = plan.registry.tasks[cell.key.task].metric
        groups: dict[str, list[Item]] = {}
        for key, item in cell.trials.items():
            groups.setdefault(resample_key(key, metric), []).append(item)
        for name, items in groups.items():
            members = adopted.members.get(method, {}).get(name, set())
            before = None
            if name in committed and f"count|{name}" in committed:
                before = _Mean(committed[name], int(committed[f"count|{name}"]), members)
            found = _mean(items, store, adopted, before)
            if found is not None:
                vectors[name], vectors[f"count|{name}"] = found.vector, np.asarray(found.count)
    return _archive(vectors)


@dataclass(frozen=True)
class _Mean:
    """A mean over runs, of how many, and of which trials."""

    vector: np.ndarray
    count: int
    members: set[str]


def _mean(items: list[Item], store: Store, adopted: Adopted, before: _Mean | None) -> _Mean | None:
    """Form the mean over all trials of a cell that stand; None if it cannot be formed.

    A committed mean is of trials whose own vectors are not known here. So it serves as a whole or not at all: with
    each of its trials still standing, and none of them added once more when the store holds it too.
    """
    import numpy as np

    fresh: dict[str, np.ndarray] = {}
    standing: set[str] = set()
    only_committed = False
    for item in items:
        record = speaks_for(store, "trial", item.id)
        if record is not None and trial_status(record) in SCORED:
            vector = store.arrays(record).get("resamples")
            if vector is not None:
                fresh[item.id] = np.asarray(vector, dtype=np.float64)
        elif item.id in adopted.rows:
            only_committed = True
        else:
            continue
        standing.add(item.id)
    if not only_committed:
        vector = np.asarray(sum(fresh.values()) / len(fresh), dtype=np.float64) if fresh else None
        return None if vector is None else _Mean(vector, len(fresh), set(fresh))
    if before is None or not before.members <= standing:
        return None
    added = {id: vector for id, vector in fresh.items() if id not in before.members}
    if not added:
        return before
    count = before.count + len(added)
    total = before.vector * before.count + sum(added.values())
    return _Mean(np.asarray(total / count, dtype=np.float64), count, before.members | set(added))


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    """Read the bytes of an archive.

    Raises:
        ValueError, zipfile.BadZipFile, OSError: If they are none.
    """
    import numpy as np

    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _archive(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write arrays as an archive whose bytes depend on them alone."""
    import numpy as np

    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **dict(sorted(arrays.items())))
    return stream.getvalue()


SHOWN = 24  # annotated pairs of each class and task that a panel may be chosen from
PER_PAIR = ("cams", "class", "rank", "positives", "overlap", "found")


def write_localization(plan: Plan, root: Path, store: Store, method: str) -> Path:
    """Write ``localization/<method>.npz``: evidence maps of the first repeat, for panels of the report.

    For each task, up to ``SHOWN`` annotated (image, class) pairs of each class, drawn by a hash of case and class and
    so the same for every method, with their map, boxes, logits and the rank of the image; and the image itself where a
    program made it: real images never leave their data root. The archive is empty for a method that was not localized.
    What is already there stays if it came from the planned trial and the store does not hold that trial or its images.
    """
    path = profile_folder(root, plan.profile) / "localization" / f"{method}.npz"
    with assembling(root):
        before: dict[str, np.ndarray] = {}
        with contextlib.suppress(OSError, ValueError, EOFError, zipfile.BadZipFile):  # one that is damaged is none
            before = _arrays(path.read_bytes())
        _replace(root, path, _archive(_localization(plan, store, method, before)))
    return path


def _localization(plan: Plan, store: Store, method: str, before: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Collect the evidence maps of a method, by task and name."""
    import numpy as np

    from harness.pixels import Pixels

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
    return arrays


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
    """Write ``cohorts/<task>.json``: the manifest of the cohort, or why it is unavailable.

    A manifest of the planned cohort stays where the store does not hold its images.
    """
    path = profile_folder(root, plan.profile) / "cohorts" / f"{task}.json"
    resolved = plan.tasks[task]
    base: dict[str, Any] = {
        "task": task,
        "synthetic": resolved.synthetic,
        "stamp": resolved.stamp,
        "split_published": resolved.split_published,
        "validation_labels": resolved.transfer.get("validation_labels", "full"),
    }
    item = plan.cohorts.get(task)
    record = store.ok("cohort", item.id) if item else None
    if item is None:
        content = {**base, "status": "unavailable", "reason": resolved.unavailable}
    elif record is None:
        if _is_manifest(path, item.id):
            return path
        content = {**base, "status": "missing", "id": item.id}
    else:
        manifest = json.loads((store.folder(record) / "manifest.json").read_text())
        content = {**manifest, **base, "status": "ok", "id": item.id}
    _replace(root, path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return path


def _is_manifest(path: Path, identity: str) -> bool:
    """Say whether a file is the manifest of a cohort that was built."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and (content.get("id"), content.get("status")) == (identity, "ok")


def write_pretraining(plan: Plan, root: Path, store: Store, adopted: Adopted, method: str) -> Path:
    """Write ``pretraining/<method>.json`` and ``curves/<method>.csv``.

    They hold phases, budgets, selected steps and digests of weights; no time, no host.
    """
    folder = profile_folder(root, plan.profile)
    path, curves = folder / "pretraining" / f"{method}.json", folder / "curves" / f"{method}.csv"
    resolved = plan.methods[method]
    chains = {index: chain for (name, index), chain in plan.phases.items() if name == method}
    with assembling(root):
        committed = parse_rows((trusted(root, curves) or b"").decode())
        seeds, curve = [], []
        for index, chain in sorted(chains.items()):
            if _stands(chain, store, adopted):
                phases = [adopted.phases[item.id] for item in chain]
                curve += _committed_curve(committed, chain, index)
            else:
                phases = [_phase_facts(item, speaks_for(store, "phase", item.id)) for item in chain]
                records = [(item, store.ok("phase", item.id)) for item in chain]
                curve += [row for item, ok in records if ok for row in _curve_rows(item, index, store.curve(ok))]
            seeds.append({"pretrain_seed": index, "phases": phases})
        content = {
            "method": method,
            "label": plan.registry.methods[method].label,
            "unavailable": resolved.unavailable,
            "reinitialised": resolved.reinitialised,
            "cohorts": sorted({phase.cohort for phase in resolved.phases if phase.cohort}),
            "budget": resolved.budget,
            "encoder": resolved.encoder,
            "pretraining_seeds": seeds,
        }
        _replace(root, path, json.dumps(content, indent=1, sort_keys=True) + "\n")
        _replace(root, curves, _table(CURVE_COLUMNS, curve))
    return path


def _stands(chain: list[Item], store: Store, adopted: Adopted) -> bool:
    """Say whether a chain of phases is told as committed: it was adopted, and the store does not hold all of it."""
    return all(item.id in adopted.phases for item in chain) and not all(store.ok("phase", item.id) for item in chain)


def _phase_facts(item: Item, record: Record | None) -> dict[str, Any]:
    """Return what ``pretraining/<method>.json`` says of a phase."""
    facts = dict(record.facts) if record and record.status in (Status.OK, Status.DIVERGED) else {}
    return {
        "name": item.spec["phase"],
        "id": item.id,
        "parent": item.spec["parent"],
        "status": "missing" if record is None else str(record.status),
        "configuration": item.spec["configuration"],
        **facts,
    }


def _committed_curve(rows: list[dict[str, str]], chain: list[Item], index: int) -> list[dict[str, str]]:
    """Return the rows of a committed curve that belong to a chain."""
    ids = {item.id[:12] for item in chain}
    return [row for row in rows if row["phase_id"] in ids and row["pretrain_seed"] == str(index)]


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
