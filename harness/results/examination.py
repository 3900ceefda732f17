"""Whether what is stored and committed is still what was written: the one check in front of every door.

``verify``, ``statistics``, ``report``, ``show``, ``compare`` and a run from scratch all call ``examine`` and refuse
what it finds, so that no door prints a number that another one would not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.advice import command
from harness.errors import DataError
from harness.plan import Plan, TrialKey
from harness.results.files import profile_folder
from harness.results.leakage import LEAKAGE
from harness.results.table import TrialRow, read_trial_rows
from harness.spec import Kind
from harness.store import Store
from harness.store.committed import Standing, judge

KINDS: tuple[Kind, ...] = ("cohort", "phase", "trial")
OF_METHODS = (
    ("pretraining", ".json"), ("curves", ".csv"), ("trials", ".csv"), ("resamples", ".npz"), ("localization", ".npz"),
    ("provenance", ".csv"),
)  # fmt: skip
TABLES = ("cells.csv", "comparisons.csv", "views.csv", "outlook.csv", "gates.csv")
MEND = 'restore it with "git checkout HEAD -- {name}", or remove it and run the command that writes it ("dvc repro")'


@dataclass
class Examination:
    """What was looked at, and what is wrong with it.

    Attributes:
        faults: Edited or damaged: nothing may be printed from it. A sentence each.
        unknown: Names of results files that nothing vouches for, as older versions left them.
        unsealed: Files whose trials carry no seals. unsealed_records: How many records carry none.
        uncounted: Files whose trials do not say how many labels they had.
        files: Results files that stand. records: Records read. hashed: Files of records whose bytes were read.
    """

    faults: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unsealed: list[str] = field(default_factory=list)
    unsealed_records: int = 0
    uncounted: list[str] = field(default_factory=list)
    files: int = 0
    records: int = 0
    hashed: int = 0

    @property
    def notes(self) -> list[str]:
        """Say what could be checked less than it should, in one sentence each."""
        found = []
        if self.unknown:
            found.append(
                f"nothing vouches for {_some(self.unknown)}: neither dvc.lock nor SHA256SUMS lists "
                f"{'it' if len(self.unknown) == 1 else 'them'}, as older versions left files; "
                f'{command("report")} writes what the store holds anew, "dvc repro" locks it.'
            )
        if self.unsealed:
            found.append(
                f"{_some(self.unsealed)} carry no seals, as older versions wrote them: dvc.lock alone vouches for "
                'them; "dvc repro" writes them anew.'
            )
        if self.uncounted:
            found.append(
                f"{_some(self.uncounted)} do not say how many labels a trial had, as older versions wrote them: tables "
                'leave those numbers out; "dvc repro" writes them where the store holds the trials\' records.'
            )
        if self.unsealed_records:
            found.append(
                f"{self.unsealed_records} records of the store carry no seal, as older versions wrote them: an edit of "
                "their values would not show."
            )
        return found


def results_files(plan: Plan, root: Path) -> Iterator[Path]:
    """Yield every results file that the registries imply, there or not."""
    folder = profile_folder(root, plan.profile)
    yield from (folder / "cohorts" / f"{task}.json" for task in plan.tasks)
    for kind, suffix in OF_METHODS:
        yield from (folder / kind / f"{method}{suffix}" for method in plan.methods)
    yield folder / "provenance" / "environments.json"
    yield from (folder / name for name in (LEAKAGE, *TABLES))
    yield root / "results" / "published" / "audit.csv"


def examine(
    plan: Plan,
    root: Path,
    store: Store,
    *,
    may_lack: Collection[Path] | None = (),
    thorough: bool = False,
    track: Callable[[list[tuple[Kind, str]]], Iterator[tuple[Kind, str]]] = iter,
) -> Examination:
    """Examine a profile's results files, and the records of the store.

    Args:
        plan: What the registries imply.
        root: Project folder.
        store: Its records; an edited or damaged one is set aside, as wherever it is met.
        may_lack: Results files that need not be there, because they are about to be written; None: any.
        thorough: Read every record, and every byte of the files that records of planned items vouch for; otherwise
            only what was changed since it was written, by its date.
        track: Passes the items on while it shows how far they are.
    """
    found = Examination()
    before = len(store.notices)
    for path in results_files(plan, root):
        _file(found, root, path, absent=may_lack is not None and path not in may_lack)
    planned = {item.id: key for key, item in plan.trials().items()}
    for method in plan.methods:
        path = profile_folder(root, plan.profile) / "trials" / f"{method}.csv"
        if path.is_file():
            _rows(found, root, path, planned)
    if thorough:
        _all_records(found, store, set(plan.items), track)
    else:
        _changed_records(store)
    found.faults += [sentence for sentence in store.notices[before:] if sentence not in found.faults]
    return found


def _file(found: Examination, root: Path, path: Path, *, absent: bool) -> None:
    verdict = judge(root, path)
    name = path.relative_to(root).as_posix()
    if verdict.standing is Standing.UNKNOWN:
        found.unknown.append(name)
    elif verdict.standing is Standing.EDITED or (absent and verdict.sentence):
        found.faults.append(f"{verdict.sentence}: {MEND.format(name=name)}.")
    elif verdict.standing is Standing.VOUCHED:
        found.files += 1


def _rows(found: Examination, root: Path, path: Path, planned: dict[str, TrialKey]) -> None:
    """Check each row by itself, by its trial's seal, and that no trial's id stands under another trial's name."""
    try:
        rows = read_trial_rows(path)
    except DataError as error:
        found.faults.append(str(error))
        return
    if rows and not rows[0].sealed:
        found.unsealed.append(path.relative_to(root).as_posix())
    if any(row.status.scored and row.labelled is None for row in rows):
        found.uncounted.append(path.relative_to(root).as_posix())
    for row in rows:
        expected = planned.get(row.trial_id)
        if expected is not None and expected != _key(row):
            found.faults.append(
                f"{path}, line {row.line}: the id {row.trial_id[:12]}… is that of {expected.method} on {expected.task} "
                f"at {expected.label_fraction!r}, repeat {expected.repeat}, not of this row's trial: restore the file "
                "with git."
            )
            return


def _key(row: TrialRow) -> TrialKey:
    return TrialKey(row.method, row.task, row.label_fraction, row.pretrain_seed, row.repeat)


def _changed_records(store: Store) -> None:
    """Read the records that are not what the index knows, and the files that are newer than their record."""
    for kind in KINDS:
        for id in sorted(store.done_ids(kind)):
            if store.touched(kind, id):
                for record in store.attempts(kind, id):
                    store.verify(record)


def _all_records(
    found: Examination,
    store: Store,
    planned: set[str],
    track: Callable[[list[tuple[Kind, str]]], Iterator[tuple[Kind, str]]],
) -> None:
    items = [(kind, id) for kind in KINDS for id in store.ids(kind)]
    for of, id in track(items):
        for record in store.attempts(of, id):
            found.records += 1
            found.unsealed_records += not record.seal
            if id in planned and store.verify(record):
                found.hashed += len(record.files)


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more files"
