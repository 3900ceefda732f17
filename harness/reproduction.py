"""How many committed numbers a run from scratch has reproduced.

The comparison reads a snapshot of ``results/`` taken before the run, and what the run has just trained: while it is
under way nothing is adopted, so it never compares a row with itself.

A number is reproduced *bit for bit*; or *within noise*: inside the 95 % prediction interval of the committed repeats of
its cell, mean ± t(n − 1, .975) · s · √(1 + 1/n); or not. Bit-equality is promised on the same instruction set with the
locked set-up only, and the comparison names the cohorts whose images differ and what of the machine does.
"""

from __future__ import annotations

import json
import math
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import ConfigurationError
from harness.results import from_scratch_marker, profile_folder
from harness.results.causes import image_differences, machine_differences
from harness.results.table import TrialRow, read_trial_rows
from harness.store.committed import ledger
from harness.store.leases import read_object
from harness.whole_files import write_whole

SNAPSHOT = "committed"
KEPT = ("trials", "cohorts", "provenance")  # the first is compared, the others say why numbers differ


def begin_from_scratch(root: Path, profile: str, folders: Iterable[str] = (".trials", ".cohorts")) -> bool:
    """Set the old store aside and keep a snapshot of the committed results, unless such a run was interrupted.

    Each store goes to a name of its own (``.trials.aside-<when>``): nothing that was ever set aside is removed.

    Returns:
        True if a run begins, False if one that was interrupted is resumed.
    """
    marker = from_scratch_marker(root)
    if marker.is_file():
        if (read_object(marker) or {}).get("profile") == profile:
            return False
        marker.unlink()
    begun = f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"
    store = marker.parent
    fresh = root / f"{store.name}.begun-{begun}"
    snapshot = fresh / SNAPSHOT
    snapshot.mkdir(parents=True)
    for name in KEPT:
        committed = profile_folder(root, profile) / name
        if committed.is_dir():
            shutil.copytree(committed, snapshot / name)
    if ledger(root).is_file():  # what this checkout wrote it still vouches for
        shutil.copy(ledger(root), fresh)
    write_whole(fresh / marker.name, json.dumps({"profile": profile, "begun": begun}).encode())
    # The marker comes into being with the new store, last: killed before, the next call begins anew and loses nothing.
    for old in [root / name for name in folders if root / name != store] + [store]:
        if old.exists() and any(old.iterdir()):
            old.rename(root / f"{old.name}.aside-{begun}")
    fresh.rename(store)
    for left in root.glob(f"{store.name}.begun-*"):
        shutil.rmtree(left, ignore_errors=True)
    return True


def end_from_scratch(root: Path) -> None:
    """Turn adoption on again."""
    from_scratch_marker(root).unlink(missing_ok=True)


@dataclass
class Reproduction:
    """What became of the committed numbers.

    Attributes:
        bit_equal, within_noise, different: Numbers of planned trials that were trained again.
        gone: Committed numbers whose trial is no longer planned. missing: ones that the new run has no value for.
        new: Numbers that were not committed before.
        examples: A sentence for each of the first numbers that were not reproduced.
        moved: Task → how many of its numbers are not bit-equal.
        images: Task → which files of its cohort differ from the committed ones.
        machine: A sentence for each fact of machine and libraries that differs.
    """

    bit_equal: int = 0
    within_noise: int = 0
    different: int = 0
    gone: int = 0
    missing: int = 0
    new: int = 0
    examples: list[str] = field(default_factory=list)
    moved: Counter[str] = field(default_factory=Counter)
    images: dict[str, str] = field(default_factory=dict)
    machine: list[str] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """Numbers that were compared."""
        return self.bit_equal + self.within_noise + self.different

    def sentence(self) -> str:
        """Say it in one sentence."""
        if not self.compared and not self.gone and not self.missing:
            return f"no committed numbers to compare with; {self.new} new numbers."
        said = (
            f"of {self.compared} committed numbers that were trained again, {self.bit_equal} are reproduced bit for "
            "bit, "
            f"{self.within_noise} within noise (95 % prediction interval of the committed repeats), {self.different} "
            "are not"
        )
        rest = [
            f"{self.missing} have no value in this run" if self.missing else "",
            f"{self.gone} belong to trials no longer planned" if self.gone else "",
            f"{self.new} are new" if self.new else "",
        ]
        return said + "".join(f"; {part}" for part in rest if part) + "."

    def causes(self) -> list[str]:
        """Name what differs beside the numbers: images always, the machine where a number moved."""
        said = [
            f"the images of {task} differ ({files}); {self.moved[task]} of its numbers are not bit-equal"
            for task, files in self.images.items()
        ]
        alike = sum(count for task, count in self.moved.items() if task not in self.images)
        if alike:
            said.append(f"{alike} numbers that are not bit-equal are of tasks whose images are the committed ones")
        return said + (["of the machine " + fact for fact in self.machine] if self.moved else [])


def compare(root: Path, profile: str, planned: set[str]) -> Reproduction:
    """Compare the snapshot with what stands in ``results/`` now.

    Args:
        root: Project folder.
        profile: Whose results.
        planned: Ids of the trials that the plan holds now.

    Raises:
        ConfigurationError: If no run from scratch was begun, so there is no snapshot.
        DataError: If rows of either side were edited.
    """
    marker = from_scratch_marker(root)
    if not marker.is_file():
        raise ConfigurationError(
            'no run from scratch has been made here, so there is nothing to compare; run "nox -s repro" or '
            '"dira-bench run --from-scratch" first.'
        )
    committed, present = marker.parent / SNAPSHOT, profile_folder(root, profile)
    before, after = _numbers(committed / "trials"), _numbers(present / "trials")
    cells: dict[tuple[str, ...], list[float]] = {}
    for row in before.values():
        cells.setdefault(_cell(row), []).append(_value(row))
    result = Reproduction(
        new=sum(key not in before for key in after),
        images=image_differences(committed, present),
        machine=machine_differences(committed, present),
    )
    for key, row in before.items():
        if key[0] not in planned:
            result.gone += 1
        elif key not in after:
            result.missing += 1
        elif repr(after[key].value) == repr(row.value):
            result.bit_equal += 1
        else:
            result.moved[row.task] += 1
            _judge(result, row, after[key], cells[_cell(row)])
    return result


def _judge(result: Reproduction, row: TrialRow, now: TrialRow, repeats: list[float]) -> None:
    """Count a number that is not bit-equal."""
    if _within(_value(now), repeats):
        result.within_noise += 1
        return
    result.different += 1
    if len(result.examples) < 10:
        where = " × ".join(_cell(row)) + f" · repeat {row.repeat}"
        result.examples.append(f"{where}: committed {row.value!r}, now {now.value!r}")


def _numbers(folder: Path) -> dict[tuple[str, str], TrialRow]:
    rows = (row for path in sorted(folder.glob("*.csv")) for row in read_trial_rows(path))
    return {(row.trial_id, row.metric): row for row in rows if row.status.scored and row.value is not None}


def _value(row: TrialRow) -> float:
    return math.nan if row.value is None else row.value


def _cell(row: TrialRow) -> tuple[str, ...]:
    return row.method, row.task, repr(row.label_fraction), str(row.pretrain_seed), row.metric


def _within(value: float, repeats: list[float]) -> bool:
    """Say whether a new value lies inside the 95 % prediction interval of the committed repeats."""
    n = len(repeats)
    if n < 2:
        return False
    from scipy.stats import t

    mean = sum(repeats) / n
    sd = (sum((repeat - mean) ** 2 for repeat in repeats) / (n - 1)) ** 0.5
    half: float = float(t.ppf(0.975, n - 1)) * sd * (1 + 1 / n) ** 0.5
    return abs(value - mean) <= half
