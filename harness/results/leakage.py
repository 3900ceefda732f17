"""Which test images pretraining has seen: ``leakage.csv``, counted from the images themselves, by how they look.

Only real images are compared: every phantom is drawn independently. A pair of cohorts that this checkout's store does
not hold keeps its committed rows, if those are of the planned cohorts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pydantic import Field, ValidationError

from harness.contracts import CountTwins
from harness.dotted import import_dotted
from harness.plan import Plan
from harness.results.files import parse_rows, profile_folder
from harness.spec import NO_TRANSFER, Frozen
from harness.store import Store
from harness.store.committed import replace, standing_content
from harness.typed_csv import table_text

LEAKAGE = "leakage.csv"
COUNT_TWINS = "tasks.leakage:count_twins"  # dotted path of the ``CountTwins``


class Leak(Frozen):
    """One line of ``leakage.csv``: images of a task's split that have a twin among those a pretraining has seen.

    Attributes:
        pretraining_cohort, pretraining_cohort_id: Whose images for training and validation were seen, labels or not.
        task, cohort_id: Whose images are judged.
        split: train, validation or test.
        images, with_twin: How many there are, and how many of them have a twin.
        threshold: Correlation above which two images are twins.
        below: Highest correlation of an image without a twin; None where each has one.
    """

    pretraining_cohort: str
    pretraining_cohort_id: str
    task: str
    cohort_id: str
    split: str
    images: int = Field(ge=0)
    with_twin: int = Field(ge=0)
    threshold: float
    below: float | None

    @property
    def ids(self) -> tuple[str, str]:
        """The ids of both cohorts, which the count is a function of."""
        return self.pretraining_cohort_id, self.cohort_id


def pairs(plan: Plan) -> list[tuple[str, str]]:
    """Return (pretraining cohort, task) of every two real cohorts in 2D that meet under the profile, as registered."""
    flat = {entry.name: entry for entry in plan.registry.tasks if entry.dimensions == 2 and _is_real(plan, entry.name)}
    used = {phase.cohort for method in plan.methods.values() for phase in method.phases}
    judged = [name for name, entry in flat.items() if entry.transfer != NO_TRANSFER]
    return list(itertools.product((name for name in flat if name in used), judged))


def _is_real(plan: Plan, task: str) -> bool:
    return task in plan.cohorts and not plan.tasks[task].synthetic


def count_leaks(plan: Plan, store: Store) -> Iterator[tuple[tuple[str, str], list[Leak] | None]]:
    """Yield each pair with its rows; None where the store does not hold the images of both."""
    for pretraining, task in pairs(plan):
        judged, seen = (place_of(plan, store, name) for name in (task, pretraining))
        if judged is None or seen is None:
            yield (pretraining, task), None
            continue
        count: CountTwins = import_dotted(COUNT_TWINS)  # here, so that assembling a report needs no image library
        names = {"pretraining_cohort": pretraining, "pretraining_cohort_id": plan.cohorts[pretraining].id}
        names |= {"task": task, "cohort_id": plan.cohorts[task].id}
        yield (pretraining, task), [Leak.model_validate(names | asdict(row)) for row in count(judged, seen)]


def place_of(plan: Plan, store: Store, task: str) -> Path | None:
    """Return the folder of a task's cohort, its bytes checked; None if it is not in the store."""
    record = store.ok("cohort", plan.cohorts[task].id)
    if record is None:
        return None
    store.checked(record, "cases.csv")
    return store.checked(record, "pixels.npy").parent


def write_leakage(plan: Plan, root: Path, store: Store) -> Path:
    """Write ``leakage.csv``: every pair of planned cohorts that was compared here, or whose committed rows stand."""
    path = profile_folder(root, plan.profile) / LEAKAGE
    committed = _read(standing_content(root, path))
    rows = []
    for names, counted in count_leaks(plan, store):
        ids = tuple(plan.cohorts[name].id for name in names)
        rows += [row for row in committed if row.ids == ids] if counted is None else counted
    replace(root, path, table_text(Leak, rows))
    return path


def _read(content: bytes | None) -> list[Leak]:
    """Read committed rows; whatever else is in their place counts as absent."""
    try:
        found = parse_rows((content or b"").decode())
        return [Leak.model_validate({**row, "below": row.get("below") or None}) for row in found]
    except (UnicodeDecodeError, ValidationError):
        return []
