"""The mean over repeats of a metric on each patient resample, a vector a cell and pretraining seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.plan import Cell, Plan, TrialKey
from harness.results.adoption import Adopted
from harness.results.files import archive, read_arrays
from harness.results.standing import representing, trial_status
from harness.spec import Item
from harness.store import Store

if TYPE_CHECKING:
    import numpy as np


def resample_key(key: TrialKey, metric: str) -> str:
    """Return the name of a cell's vector in ``resamples/<method>.npz``."""
    return f"{key.task}|{key.label_fraction!r}|{key.pretrain_seed}|{metric}"


def mean_resamples(plan: Plan, method: str, cells: list[Cell], store: Store, adopted: Adopted) -> bytes:
    """For each cell and pretraining seed: the mean over repeats of the metric on each patient resample."""
    import numpy as np

    committed = read_arrays(adopted.resamples[method]) if method in adopted.resamples else {}
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
    return archive(vectors)


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
        record = representing(store, "trial", item.id)
        if record is not None and trial_status(record).scored:
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
