"""What stands in a profile's results for an entry that the profile has not.

A folder of results has a file for every entry of the registries. That of an entry of another profile says so and holds
no row, so that nobody takes it for one that was forgotten. Nothing reads it: a plan does not know the entry.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.results.files import archive, profile_folder, table
from harness.results.pretraining import CURVE_COLUMNS
from harness.results.table import trials_csv
from harness.store.committed import replace

STATUS = "not of this profile"


def write_no_cohort(root: Path, profile: str, task: str) -> None:
    """Write ``cohorts/<task>.json`` of a task that the profile has not."""
    _replace(root, profile, f"cohorts/{task}.json", _said(task=task))


def write_no_pretraining(root: Path, profile: str, method: str) -> None:
    """Write ``pretraining/<method>.json`` and ``curves/<method>.csv`` of a method that the profile has not."""
    _replace(root, profile, f"pretraining/{method}.json", _said(method=method))
    _replace(root, profile, f"curves/{method}.csv", table(CURVE_COLUMNS, ()))


def write_no_trials(root: Path, profile: str, method: str) -> None:
    """Write ``trials/<method>.csv``, ``resamples`` and ``localization`` of a method that the profile has not."""
    _replace(root, profile, f"trials/{method}.csv", trials_csv(()))
    for part in ("resamples", "localization"):
        _replace(root, profile, f"{part}/{method}.npz", archive({}))


def _said(**entry: str) -> str:
    return json.dumps({**entry, "status": STATUS}, indent=1, sort_keys=True) + "\n"


def _replace(root: Path, profile: str, name: str, content: str | bytes) -> None:
    replace(root, profile_folder(root, profile) / name, content)
