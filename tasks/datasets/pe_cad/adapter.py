"""PE-CAD (Tajbakhsh et al. 2015): candidates for pulmonary emboli in CT angiographies. Private: nobody can fetch it.

The layout is this project's own, neutral and documented here, so that whoever holds such data can enter it::

    scans/<patient_id>.mhd (with .raw) or .nii or .nii.gz     one scan a patient; its header says where it lies
    candidates.csv    patient_id,x_mm,y_mm,z_mm,class,embolus_id
    split.csv         patient_id,split                         train | test (| validation)

Points are LPS millimetres; class is 1 for a candidate that hits an embolus, whose number within its patient is
``embolus_id`` (empty otherwise): several candidates may hit one. Everything is grouped by patient. Where ``split.csv``
names no validation patients, a tenth of its training patients is drawn with a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.errors import DataError
from harness.late import pd
from tasks.layouts.candidates import (
    WORLD,
    check_places,
    check_repeats,
    check_rows,
    check_voxels,
    read_scan,
)
from tasks.layouts.finding import Files, plain
from tasks.layouts.images import plain_name
from tasks.layouts.in_parallel import OPENING_SCANS, each
from tasks.layouts.index import Finding, Index, count_differences, fingerprint_of, leaks, missing_cases
from tasks.layouts.splits import draw_patients
from tasks.layouts.tables import read_table
from tasks.layouts.volumes import Volume
from tasks.options import Split

SCANS, CANDIDATES, SPLITS_FILE = "scans", "candidates.csv", "split.csv"
COLUMNS = ("patient_id", *WORLD, "class", "embolus_id")
ENDINGS = (".mhd", ".nii", ".nii.gz")
PUBLISHED = {  # stated by the paper
    "scans": 121,
    "train positive": 434,
    "train negative": 3_406,
    "test positive": 253,
    "test negative": 2_162,
}


def scan_paths(root: Path) -> dict[str, str]:
    """Return patient → path of the scan relative to the root.

    Raises:
        DataError: If there is no folder of scans, or a patient has two.
    """
    files = Files.under(root, "PE-CAD")
    if not any(SCANS in folder.split("/") for folder in files.folders):
        raise DataError(f"no folder {root / SCANS}; expected one scan a patient in it; see docs/datasets.md")
    choice = files.by(_patient_of, *ENDINGS)
    for patient, others in choice.extra.items():
        raise DataError(
            f"patient {patient} has two scans in {root}, {choice.paths[patient]} and {others[0]}; "
            "expected one; remove one"
        )
    return dict(sorted(choice.paths.items()))


def _patient_of(path: str) -> str | None:
    """Return whose scan a path is: the name of a file below a folder of scans."""
    *folders, name = plain(path).split("/")
    ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if name.endswith(e)), None)
    return name.removesuffix(ending) if ending and SCANS in folders else None


def tables_of(root: Path) -> tuple[Path, Path]:
    """Return where the candidates and the split lie.

    Raises:
        DataError: If one is not there, or twice with other content.
    """
    files = Files.under(root, "PE-CAD")
    return (
        root / files.one(CANDIDATES, what=f"a table with the columns {','.join(COLUMNS)}"),
        root / files.one(SPLITS_FILE, what="a table with the columns patient_id,split"),
    )


def read_split(root: Path) -> dict[str, str]:
    """Return patient → split as ``split.csv`` says.

    Raises:
        DataError: For an unknown split, or a patient in two.
    """
    path = tables_of(root)[1]
    table = read_table(path, ("patient_id", "split"))
    found: dict[str, str] = {}
    for line, patient, split in zip(table["line"], table["patient_id"], table["split"], strict=True):
        if split not in ("train", "validation", "test"):
            raise DataError(
                f'line {line} of {path} has the unknown split "{split}"; expected train, validation or test; correct it'
            )
        if found.setdefault(patient, split) != split:
            raise DataError(
                f"patient {patient} is in the splits {found[patient]} and {split} of {path}; expected one of them"
            )
    return found


@dataclass(frozen=True)
class PeCad:
    """The adapter; see the module for the layout."""

    name: str = "pe_cad"
    hounsfield: ClassVar[bool] = True
    channels: ClassVar[int] = 1
    labels: tuple[str, ...] = ("embolus",)

    def read(self, root: Path, split: Split) -> Index:
        """Index every candidate.

        Raises:
            DataError: For a missing file, scan or column, a row that makes no sense, or a patient without a split.
        """
        if split.rule != "official":
            raise DataError(f'split "{split.rule}" of PE-CAD is not offered; expected "official"; correct the entry')
        paths, table = scan_paths(root), self._table(root)
        if split.sample:
            table = table[table["patient_id"].isin(paths)]
        for finding in check_rows(table, CANDIDATES, WORLD):
            raise DataError(f"{finding.message} ({root})")
        assigned = read_split(root)
        for patient in sorted(set(table["patient_id"])):
            if patient not in paths:
                raise DataError(f"{CANDIDATES} lists patient {patient}, who has no scan in {root / SCANS}; add it")
            if patient not in assigned:
                raise DataError(f"patient {patient} of {CANDIDATES} is not in {root / SPLITS_FILE}; add a line")
        rule = f"as {SPLITS_FILE} says"
        if "validation" not in assigned.values():
            training = {patient for patient in set(table["patient_id"]) if assigned[patient] == "train"}
            if len(training) < 2:
                raise DataError(f"{len(training)} training patients in {root / SPLITS_FILE}; expected at least two")
            assigned |= dict.fromkeys(draw_patients(training, split.validation_fraction, split.seed), "validation")
            share = f"{split.validation_fraction:.0%}"
            rule += f"; validation is {share} of its training patients, drawn with seed {split.seed}"
        cases = pd.DataFrame({
            "case": table["patient_id"] + "/" + table["line"].astype(str).str.zfill(6),
            "patient": table["patient_id"],
            "image": table["patient_id"].map(paths),
            "split": table["patient_id"].map(assigned),
            "embolus": table["class"].astype(int),
            **{column: table[column].astype(float) for column in WORLD},
        }).sort_values("case", ignore_index=True)  # fmt: skip
        hit = table.loc[table["class"] == "1", ["patient_id", "embolus_id"]].drop_duplicates()
        facts = {"scans": len(paths), "emboli": len(hit)}
        empty = frozenset(set(paths) - set(cases["patient"]))
        return Index(cases, self.labels, split_rule=rule, facts=facts, without_cases=empty)

    def open(self, root: Path, image: str) -> Volume:
        """Read the scan of a case."""
        return read_scan(root / image)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check tables, places and groups; scans are opened if ``decode``."""
        try:
            paths, table, assigned = scan_paths(root), self._table(root), read_split(root)
        except DataError as error:
            return [Finding("fail", str(error))]
        findings = [*Files.under(root, "PE-CAD").twice(CANDIDATES, SPLITS_FILE), *check_rows(table, CANDIDATES, WORLD)]
        findings += check_repeats(table, CANDIDATES)
        for row in table.itertuples(index=False):
            if (row[table.columns.get_loc("class")] == "1") == (row.embolus_id == ""):
                expected = "a number for class 1 and nothing for class 0"
                findings.append(
                    Finding(
                        "fail",
                        f'line {row.line} of {CANDIDATES} has embolus_id "{row.embolus_id}"; expected {expected}',
                    )
                )
        asked = split or Split(rule="official", validation_fraction=0.1, seed=99)
        by_patient = {str(patient): rows for patient, rows in table.groupby("patient_id")}
        for patient, rows in by_patient.items():
            if patient not in assigned:
                findings.append(
                    Finding("fail", f"patient {patient} of {CANDIDATES} is not in {SPLITS_FILE}; expected a line")
                )
            if patient not in paths:
                findings.append(
                    Finding(
                        "note" if asked.sample else "fail",
                        f"patient {patient} of {CANDIDATES} has no scan in {SCANS}; expected one",
                    )
                )
            else:
                findings += check_places(rows, CANDIDATES, WORLD, root / paths[patient])
        lost = sorted(patient for patient, part in assigned.items() if part == "test" and patient not in paths)
        listed = list(assigned.values()).count("test")
        findings += missing_cases(f"test patients of {SPLITS_FILE}", lost, listed, root, asked)
        for patient in sorted(set(paths) - set(by_patient)):
            findings.append(Finding("warn", f"{paths[patient]} has no candidate; expected at least one a patient"))
        if decode:
            for _, found in each(lambda path: check_voxels(root / path), list(paths.values()), OPENING_SCANS):
                findings += found
        findings = list(dict.fromkeys(findings))  # a scan that cannot be opened is met by several checks
        if not any(finding.level == "fail" for finding in findings):
            cases = self.read(root, asked).cases
            findings += leaks(cases)
            if published:
                counts = {"scans": len(paths)}
                for part, positive in (("train", True), ("train", False), ("test", True), ("test", False)):
                    of = (cases["split"] == "test") == (part == "test")
                    name = f"{part} {'positive' if positive else 'negative'}"
                    counts[name] = int((of & (cases["embolus"] == int(positive))).sum())
                findings += count_differences(counts, PUBLISHED, "PE-CAD")
        return findings

    def _table(self, root: Path) -> pd.DataFrame:
        path = tables_of(root)[0]
        table = read_table(path, COLUMNS)
        for patient in table["patient_id"].unique():
            plain_name(patient, str(path))
        return table

    def fingerprint(self, root: Path) -> str:
        """Digest of the two tables and of every scan's path and size."""
        files = Files.under(root, "PE-CAD")
        scans = [root / path for path in files.paths if SCANS in path.split("/")[:-1]]
        texts = [root / path for name in (CANDIDATES, SPLITS_FILE) for path in files.named(name)]
        return fingerprint_of(root, texts, scans)


ADAPTER = PeCad()
