"""Results of two methods on one task, as small as a contrast needs, written through the schema."""

import hashlib
import json

import numpy as np

from harness.results.table import TrialRow, trials_csv
from harness.spec import Status
from harness.store.committed import SUMS


def trial_id(method: str, repeat: int, version: str) -> str:
    return hashlib.sha256(f"{method}|{repeat}|{version}".encode()).hexdigest()


def write(folder, values, *, version="1", cohort="c" * 64, label="Method", metric="auc"):
    """Write ``values`` (method → AUC of each repeat) as a results folder with its list of digests."""
    for method, own in values.items():
        rows = [
            TrialRow(method, "some_task", 1.0, 0, repeat, metric, float(value), Status.OK, 10, cohort[:12],
                     trial_id(method, repeat, version))
            for repeat, value in enumerate(own)
        ]  # fmt: skip
        _put(folder / "trials" / f"{method}.csv", trials_csv(rows))
        _put(folder / "pretraining" / f"{method}.json", json.dumps({"reinitialised": False, "label": label}))
    _put(folder / "cohorts" / "some_task.json", json.dumps({"id": cohort, "synthetic": False}))
    listed = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}" for path in listed
    ]
    _put(folder / SUMS, "".join(line + "\n" for line in sums))
    return folder


def draws(seed: int, mean: float = 0.8, n: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.01, n)


def _put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
