"""In a fresh clone the committed rows are as good as a record: which of them still stand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.plan import Plan
from harness.results.files import parse_rows, profile_folder
from harness.results.standing import SCORED
from harness.store.committed import distrust, trusted


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


def from_scratch_marker(root: Path) -> Path:
    """Return the file that exists while a run from scratch is under way: nothing is adopted meanwhile."""
    return root / ".trials" / "from-scratch.json"
