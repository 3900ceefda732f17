"""A folder of results, wherever it comes from: found, checked against its own list of digests, and read.

Nothing here asks the registries: a colleague's folder may hold methods and tasks that this checkout does not know.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.advice import command
from harness.errors import ConfigurationError, DataError
from harness.published import CellKey
from harness.results.table import TrialRow, read_trial_rows
from harness.statistics.trials import TrialIndex, Trials
from harness.store.committed import SUMS, listed_sums

LISTED = ("", "provenance")  # sub-folders with a list of digests of their own


@dataclass(frozen=True)
class ResultsFolder:
    """``results/<profile>`` of some checkout.

    Attributes:
        path: Where it lies.
        unlisted: Names of files that no ``SHA256SUMS`` lists: nothing vouches for them but the seals of their rows.
    """

    path: Path
    unlisted: tuple[str, ...] = ()

    @cached_property
    def rows(self) -> dict[CellKey, dict[TrialIndex, dict[str, TrialRow]]]:
        """Return cell → run → metric → row.

        Raises:
            DataError: If a file is no table of trials, or a trial is not what its seal says.
        """
        found: dict[CellKey, dict[TrialIndex, dict[str, TrialRow]]] = {}
        for path in sorted((self.path / "trials").glob("*.csv")):
            for row in read_trial_rows(path):
                index = TrialIndex(row.pretrain_seed, row.repeat)
                found.setdefault(row.cell, {}).setdefault(index, {})[row.metric] = row
        return found

    @cached_property
    def trials(self) -> Trials:
        """Return the same rows as the statistics see them, with the manifests of their cohorts."""
        return Trials(self.path, sorted({cell.method for cell in self.rows}), sorted({cell.task for cell in self.rows}))

    def drawn_anew(self, method: str) -> bool:
        """Say whether a method's encoder is drawn anew for each run, as ``pretraining/<method>.json`` has it."""
        document = self._document("pretraining", method)
        return document.get("reinitialised") is True

    def cohort(self, task: str) -> str:
        """Return the id of a task's cohort; empty if its manifest is absent or has none."""
        found = self._document("cohorts", task).get("id")
        return found if isinstance(found, str) else ""

    def _document(self, kind: str, name: str) -> Mapping[str, object]:
        path = self.path / kind / f"{name}.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read as JSON ({error}); get the folder anew from whoever made it."
            ) from None
        return document if isinstance(document, dict) else {}


def open_results(folder: Path, profile: str | None = None) -> ResultsFolder:
    """Find the results in a folder and check every file that its ``SHA256SUMS`` lists.

    Args:
        folder: ``results/<profile>`` itself, or a checkout, a ``results`` folder or an unbundled archive that holds it.
        profile: Which profile, where the folder holds several.

    Raises:
        ConfigurationError: If there are none, or several and no profile was named.
        DataError: If a listed file is absent or is not what the list says.
    """
    path = _find(folder, profile)
    return ResultsFolder(path, tuple(_check(path)))


def refuse_code(folder: Path, own_metrics: Collection[str]) -> None:
    """Refuse results of a metric that is code which nobody here has named: to read them would import it.

    Args:
        folder: ``results/<profile>``.
        own_metrics: Dotted paths that this checkout's tasks name.

    Raises:
        DataError: So.
    """
    for path in sorted((folder / "trials").glob("*.csv")):
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                named = {str(row.get("metric")) for row in csv.DictReader(stream)}
        except (csv.Error, UnicodeDecodeError):
            continue  # whoever reads it as trials says so
        strange = sorted(name for name in named if ":" in name and name not in own_metrics)
        if strange:
            raise DataError(
                f"{path} has the metric {ascii(strange[0])[:120]}, which is code; expected metrics that are registered "
                "or that an entry of tasks/registry.yaml names; add one that names it, if you trust that code."
            )


def _find(folder: Path, profile: str | None) -> Path:
    if not folder.is_dir():
        raise ConfigurationError(
            f"{folder} is no folder; expected results such as results/miniature, or a folder that holds them; "
            'an archive is opened with "dira-bench unbundle".'
        )
    if _holds_trials(folder) and profile in (None, folder.name):
        return folder
    below = {path.name: path for place in (folder, folder / "results") for path in _folders(place)}
    if profile is not None:
        if profile in below:
            return below[profile]
        raise ConfigurationError(f"{folder} has no results of profile {profile}; found {_listed(below)}.")
    if len(below) == 1:
        return next(iter(below.values()))
    if below:
        raise ConfigurationError(
            f"{folder} has results of several profiles ({_listed(below)}); expected one; name it with --profile, or "
            f"give its folder ({next(iter(below.values()))})."
        )
    raise ConfigurationError(
        f"{folder} holds no results; expected trials/<method>.csv in it, or in results/<profile> below it; "
        f"{command('report')} writes them."
    )


def _holds_trials(folder: Path) -> bool:
    return any((folder / "trials").glob("*.csv"))


def _folders(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(path for path in place.iterdir() if path.is_dir() and _holds_trials(path))


def _listed(below: Mapping[str, Path]) -> str:
    return ", ".join(sorted(below)) or "none"


def _check(path: Path) -> Iterator[str]:
    """Check what is listed, and yield the names of files that are not."""
    listed: dict[str, str] = {}
    for part in LISTED:
        own = listed_sums(path / part / SUMS)
        listed |= {f"{part}/{name}" if part else name: digest for name, digest in own.items()}
    for name, digest in listed.items():
        file = path / name
        if not file.is_file():
            raise DataError(f"{file} is absent although {SUMS} lists it; get the folder anew from whoever made it.")
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise DataError(
                f"{file} is not what {SUMS} says, so it was edited or damaged; get the folder anew from whoever made "
                f"it, or, if it is yours, write it anew with {command('report')}."
            )
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and file.name != SUMS and name not in listed:
            yield name
