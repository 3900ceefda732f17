"""In a fresh clone the committed rows are as good as a record: which of them still stand."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.plan import Plan
from harness.results.files import profile_folder
from harness.results.table import TrialRow, parse_trial_rows
from harness.spec import Status
from harness.store.committed import Witnesses, judge, trusted, without_lock


@dataclass
class Adopted:
    """Committed results that still represent planned work.

    Attributes:
        rows: Trial id → its rows of ``trials.csv``, by metric, in the file's order.
        phases: Id of a phase that ended ok, or diverged → what the committed pretraining file says of it.
        resamples: Method → its committed ``resamples.npz``, as bytes.
        members: Method → name in ``resamples.npz`` → trials whose mean it is, planned or not.
        refused: What is not adopted, and why, one sentence each.
    """

    rows: dict[str, list[TrialRow]] = field(default_factory=dict)
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
    planned = plan.items.keys()
    folder = profile_folder(root, plan.profile)
    if without_lock(root) and any((folder / "trials" / f"{method}.csv").is_file() for method in plan.methods):
        adopted.refused.append(f'{without_lock(root)}: restore it with "git checkout -- dvc.lock" to keep them.')
    asked = Witnesses.of(root, folder / "trials")
    for method in plan.methods:
        _adopt_trials(adopted, asked, folder, method, planned)
        _adopt_phases(adopted, asked, folder, method, planned)
    return adopted


def _adopt_trials(adopted: Adopted, asked: Witnesses, folder: Path, method: str, planned: Collection[str]) -> None:
    """Adopt the rows of a method, if both they and the means over its repeats are what ``dvc.lock`` says."""
    table, archive = folder / "trials" / f"{method}.csv", folder / "resamples" / f"{method}.npz"
    content, resamples = trusted(asked.root, table, asked), trusted(asked.root, archive, asked)
    rows: list[TrialRow] | None = None
    if content is not None:
        try:
            rows = parse_trial_rows(content.decode(errors="replace"), table)
        except DataError as error:
            adopted.refused.append(f"the rows of {method} are not reused and will be run again: {error}")
            return
    if rows is None or resamples is None:
        for path, found in ((table, rows), (archive, resamples)):
            if found is None:
                _refuse(adopted, asked, path, f"the rows of {method}")
        return
    adopted.resamples[method] = resamples
    members = adopted.members.setdefault(method, {})
    for row in rows:
        if row.status.scored:
            name = f"{row.task}|{row.label_fraction!r}|{row.pretrain_seed}|{row.metric}"
            members.setdefault(name, set()).add(row.trial_id)
            if row.trial_id in planned:
                adopted.rows.setdefault(row.trial_id, []).append(row)


def _adopt_phases(adopted: Adopted, asked: Witnesses, folder: Path, method: str, planned: Collection[str]) -> None:
    """Adopt the phases of a method that ended ok, or diverged, which they would again."""
    path = folder / "pretraining" / f"{method}.json"
    content = trusted(asked.root, path, asked)
    if content is None:
        _refuse(adopted, asked, path, f"the phases of {method}")
        return
    phases = [phase for chain in json.loads(content)["pretraining_seeds"] for phase in chain["phases"]]
    adopted.phases |= {p["id"]: p for p in phases if p["status"] in (Status.OK, Status.DIVERGED) and p["id"] in planned}


def _refuse(adopted: Adopted, asked: Witnesses, path: Path, what: str) -> None:
    """Say why a file that is not trusted is not; nothing of a file that ``dvc.lock`` never knew."""
    found = judge(asked.root, path, asked).sentence
    if found:
        adopted.refused.append(
            f"{found}; {what} are not reused and will be run again: restore the file with git to keep them."
        )


def from_scratch_marker(root: Path) -> Path:
    """Return the file that exists while a run from scratch is under way: nothing is reused meanwhile."""
    return root / ".trials" / "from-scratch.json"
