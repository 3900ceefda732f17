"""Results files that exist already are brought up to date with what was just run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.plan import Plan
from harness.results import (
    Adopted,
    profile_folder,
    write_cohort,
    write_localization,
    write_pretraining,
    write_trials,
)
from harness.store import Store

if TYPE_CHECKING:
    from harness.runner import Summary


def refresh(plan: Plan, root: Path, store: Store, adopted: Adopted, summary: Summary | None) -> None:
    """Write anew the files of what a run has done, so that DVC sees the change; files that are not there stay absent.

    Args:
        plan: What was run.
        root: The project.
        store: Where its records are.
        adopted: Committed rows that are reused in place of trials.
        summary: What the run came to; None if it had nothing to do.
    """
    if summary is None or not summary.attempts:
        return
    touched = [plan.items[identity] for identity in summary.done if identity in plan.items]
    folder = profile_folder(root, plan.profile)
    methods = {item.outline.method or "" for item in touched if item.kind == "trial"}
    for name in sorted(methods):
        if (folder / "trials" / f"{name}.csv").is_file():
            write_trials(plan, root, store, adopted, name)
            write_localization(plan, root, store, name)
        if (folder / "pretraining" / f"{name}.json").is_file():
            write_pretraining(plan, root, store, adopted, name)
    for item in touched:
        task = item.outline.task or ""
        if item.kind == "cohort" and (folder / "cohorts" / f"{task}.json").is_file():
            write_cohort(plan, root, store, task)
