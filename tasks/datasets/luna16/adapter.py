"""LUNA16 (Setio et al. 2017): 888 chest CTs in ten folders, candidates for nodules as points, each with a class.

``subset0/ … subset9/<seriesuid>.mhd`` with ``.raw``; ``candidates.csv`` (V1, 551,065 rows) and ``candidates_V2.csv``:
``seriesuid,coordX,coordY,coordZ,class``; ``annotations.csv``: the same with ``diameter_mm`` at the end; lung masks
``seg-lungs-LUNA16/<seriesuid>.mhd`` with compressed ``.zraw``. Handled here:

* folders may be nested (``subset0/subset0``, ``candidates_V2/candidates_V2.csv``), as unpacking makes them;
* a header that does not say where its scan lies is refused, and a lung mask lies on its scan's grid;
* coordinates are world millimetres, and some scans have −1 in their TransformMatrix: the library converts, and voxels
  come in one orientation (``tasks.layouts.volumes``);
* the split is the folders': 0–4 train, 5–6 validation, 7–9 test; scans of 0–6 are those of the 3D pretraining;
* eight patients of the collection behind it have two scans: where ``patients.csv`` (``seriesuid,patient_id``) lies in
  the root patients are grouped by it; otherwise a scan counts as a patient;
* negatives outnumber positives 408 to 1 (V1): in training and validation they are thinned, in the test set never.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.errors import DataError
from harness.late import pd
from harness.spec import Frozen
from harness.typed import read
from tasks.layouts.candidates import (
    WORLD,
    check_places,
    check_repeats,
    check_rows,
    check_voxels,
    read_scan,
    scan_grid,
    thin_negatives,
)
from tasks.layouts.finding import Choice, Files
from tasks.layouts.grids import difference
from tasks.layouts.images import plain_name
from tasks.layouts.in_parallel import OPENING_SCANS, each
from tasks.layouts.index import Finding, Index, count_differences, fingerprint_of, leaks, missing_cases, refuse
from tasks.layouts.label_maps import whole_labels
from tasks.layouts.tables import read_table
from tasks.layouts.volumes import Volume, metaimage_fields
from tasks.options import Split

PARTS = {"train": range(5), "validation": range(5, 7), "test": range(7, 10)}
ANNOTATIONS, PATIENTS, LUNGS = "annotations.csv", "patients.csv", "seg-lungs-LUNA16"
COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "class")
FILE_WORLD = COLUMNS[1:4]
LUNG_VALUES = {0, 3, 4, 5}  # outside, the two lungs, the trachea
SUBSET = re.compile(r"(?:^|/)subset([0-9])(?=/)")
DATA = (".raw", ".zraw")  # beside a header
TEST_SCANS = {7: 89, 8: 88, 9: 88}  # subset → scans, counted on the challenge's folders; no list says which
PUBLISHED: dict[str, dict[str, int]] = {  # stated by the challenge; V2's counts by others
    "candidates.csv": {"scans": 888, "candidates": 551_065, "positive candidates": 1_351, "nodules": 1_186},
    "candidates_V2.csv": {"scans": 888, "candidates": 754_975, "positive candidates": 1_557, "nodules": 1_186},
}


class Options(Frozen):
    """What the data set leaves open.

    Attributes:
        candidates_file: V1, the nearest to the paper's "5M candidates", or V2, which the challenge recommends.
        negatives_per_positive: In training and validation; None keeps all.
    """

    candidates_file: Literal["candidates.csv", "candidates_V2.csv"] = "candidates.csv"
    negatives_per_positive: int | None = Field(default=10, ge=1)


def find_scans(root: Path) -> tuple[Choice[str], list[Finding]]:
    """Return seriesuid → path of its header, and what is to say of scans that lie in two places.

    Raises:
        DataError: If there is no scan in a folder ``subset0`` … ``subset9``.
    """
    files = Files.under(root, "LUNA16")
    scans, data = files.by(_uid_of, ".mhd"), files.by(_uid_of, *DATA)
    if not scans.paths:
        raise DataError(f"no scan in a folder subset0 … subset9 below {root}; expected the ten parts of LUNA16; unpack")
    findings = [*scans.findings(), *data.findings()]
    for uid, path in scans.paths.items():
        numbers = {n for place in (path, *scans.extra.get(uid, ())) for n in SUBSET.findall(place)}
        if len(numbers) > 1:
            text = f"{uid}.mhd lies in two subset folders of {root}, {' and '.join(sorted(numbers))}; expected one"
            findings.append(Finding("fail", text))
    return scans, findings


def _uid_of(path: str) -> str | None:
    """Return whose scan a path is, if it lies in a folder of a subset."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] if SUBSET.search(path) and LUNGS not in path.split("/") else None


def scan_paths(root: Path) -> dict[str, str]:
    """Return seriesuid → path of its header relative to the root.

    Raises:
        DataError: If there is none, or one lies in two places with other content or in two subsets.
    """
    scans, findings = find_scans(root)
    refuse(findings)
    return dict(scans.paths)


def subset_of(path: str) -> int:
    """Return the number of the subset that a scan's path names."""
    return int(SUBSET.findall(path)[-1])


def split_of(path: str) -> str:
    """Return the split that the folder of a scan belongs to."""
    return next(part for part, numbers in PARTS.items() if subset_of(path) in numbers)


@dataclass(frozen=True)
class Luna16:
    """The adapter; see the module for what it copes with."""

    name: str = "luna16"
    hounsfield: ClassVar[bool] = True
    channels: ClassVar[int] = 1
    labels: tuple[str, ...] = ("nodule",)
    options: Options = field(default_factory=Options)

    def with_options(self, options: Mapping[str, object]) -> Luna16:
        """Return the adapter with ``Options`` of its own.

        Raises:
            ConfigurationError: For an unknown option or value.
        """
        return replace(self, options=read(Options, dict(options), "options.cohort.adapter."))

    def read(self, root: Path, split: Split) -> Index:
        """Index every candidate whose scan is there.

        Raises:
            DataError: For a missing file or column, or a row that makes no sense.
        """
        if split.rule != "official":
            raise DataError(f'split "{split.rule}" of LUNA16 is not offered; expected "official"; correct the entry')
        paths = scan_paths(root)
        table = self._table(root)
        for finding in check_rows(table, self.options.candidates_file, FILE_WORLD):
            raise DataError(f"{finding.message} ({root})")
        patients = _patients(root)
        number = table["line"].astype(str).str.zfill(7)
        cases = pd.DataFrame({
            "case": table["seriesuid"] + "/" + number,
            "patient": table["seriesuid"].map(lambda uid: patients.get(uid, uid)),
            "image": table["seriesuid"].map(paths),
            "nodule": table["class"].astype(int),
            **{ours: table[theirs].astype(float) for ours, theirs in zip(WORLD, FILE_WORLD, strict=True)},
        })  # fmt: skip
        absent = int(cases["image"].isna().sum())
        cases = cases.dropna(subset="image")
        if cases.empty:
            raise DataError(f"no candidate of {root / self.options.candidates_file} has a scan; expected subset0 … 9")
        cases["split"] = cases["image"].map(split_of)
        found = len(cases)
        cases = cases.sort_values("case", ignore_index=True)
        cases = thin_negatives(cases, "nodule", self.options.negatives_per_positive, split.seed)
        facts = {
            "candidates_file": self.options.candidates_file,
            "scans": len(paths),
            "candidates": found,
            "candidates_without_scan": absent,
            "negatives_thinned_to": self.options.negatives_per_positive,
            "negatives_left_out": found - len(cases),
            "patients_known": bool(patients),
        }
        columns = ["case", "patient", "image", "split", "nodule", *WORLD]
        rule = "official: subsets 0–4 train, 5–6 validation, 7–9 test"
        empty = set(paths) - set(cases["case"].str.split("/").str[0])
        return Index(
            cases[columns],
            self.labels,
            split_rule=rule,
            facts=facts,
            without_cases=frozenset(empty | {patients[uid] for uid in empty if uid in patients}),
            thinned=() if self.options.negatives_per_positive is None else ("train", "validation"),
        )

    def open(self, root: Path, image: str) -> Volume:
        """Read the scan of a case."""
        return read_scan(root / image)

    def pretraining_scans(self, root: Path) -> pd.DataFrame:
        """Return the scans of subsets 0–6: ``case`` (seriesuid), ``patient``, ``image``, ``split``."""
        paths = scan_paths(root)
        patients = _patients(root)
        rows = [[uid, patients.get(uid, uid), path, split_of(path)] for uid, path in sorted(paths.items())]
        scans = pd.DataFrame(rows, columns=["case", "patient", "image", "split"])
        return scans[scans["split"] != "test"].reset_index(drop=True)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check folders, tables and places; scans and lung masks are opened if ``decode``."""
        scans, findings = find_scans(root)
        paths = scans.paths
        findings += Files.under(root, "LUNA16").twice(self.options.candidates_file, ANNOTATIONS, PATIENTS)
        present = {subset_of(path) for path in paths.values()}
        for number in sorted(set(range(10)) - present):
            findings.append(Finding("warn", f"no scan in subset{number} of {root}"))
        name = self.options.candidates_file
        table = self._table(root)
        findings += [*check_rows(table, name, FILE_WORLD), *check_repeats(table, name)]
        absent = sorted(set(table["seriesuid"]) - set(paths))
        for uid in absent[:3]:
            findings.append(Finding("warn", f"{name} lists the seriesuid {uid}, which has no scan; it is left out"))
        if len(absent) > 3:
            findings.append(Finding("warn", f"{name} lists {len(absent) - 3} more seriesuids without a scan"))
        by_scan = dict(tuple(table.groupby("seriesuid")))
        for uid, path in sorted(paths.items()):
            findings += check_places(by_scan.get(uid, table.iloc[:0]), name, FILE_WORLD, root / path)
            findings += _check_raw(root / path)
        if decode:
            for _, found in each(lambda uid: check_voxels(root / paths[uid]), sorted(paths), OPENING_SCANS):
                findings += found
        findings += self._check_nodules(root, paths)
        findings += _check_lungs(root, paths, decode)
        findings = list(dict.fromkeys(findings))  # a scan that cannot be opened is met by several checks
        asked = split or Split(rule="official", validation_fraction=0.1, seed=99)
        if not any(finding.level == "fail" for finding in findings):
            findings += leaks(self.read(root, asked).cases)
        if published:
            counts = {
                "scans": len(paths),
                "candidates": len(table),
                "positive candidates": int((table["class"] == "1").sum()),
            }
            annotations = _table_of(root, ANNOTATIONS)
            if annotations:
                counts["nodules"] = len(read_table(annotations, COLUMNS[:4]))
            findings += count_differences(counts, PUBLISHED[name], "LUNA16")
            there = [subset_of(path) for path in paths.values()]
            lost = [f"one of subset{n}" for n, size in TEST_SCANS.items() for _ in range(size - there.count(n))]
            findings += missing_cases("test scans", lost, sum(TEST_SCANS.values()), root, asked)
        return findings

    def _table(self, root: Path) -> pd.DataFrame:
        what = f"a table with the columns {','.join(COLUMNS)}"
        path = root / Files.under(root, "LUNA16").one(self.options.candidates_file, what=what)
        table = read_table(path, COLUMNS)
        for uid in table["seriesuid"].unique():
            plain_name(uid, str(path))
        return table

    def _check_nodules(self, root: Path, paths: Mapping[str, str]) -> list[Finding]:
        path = _table_of(root, ANNOTATIONS)
        if path is None:
            return [Finding("warn", f"no {ANNOTATIONS} in {root}; positives cannot be compared with the nodules")]
        try:
            nodules = read_table(path, (*COLUMNS[:4], "diameter_mm"))
        except DataError as error:
            return [Finding("fail", str(error))]
        absent = sorted(set(nodules["seriesuid"]) - set(paths))
        findings = [Finding("warn", f"{ANNOTATIONS} lists the seriesuid {uid}, which has no scan") for uid in absent]
        by_scan = {str(uid): rows for uid, rows in nodules.groupby("seriesuid")}
        table = self._table(root)
        for row in table[table["class"] == "1"].itertuples(index=False):
            known = by_scan.get(str(row.seriesuid))
            numbers = [*FILE_WORLD, "diameter_mm"]
            at = None if known is None else known[numbers].apply(pd.to_numeric, errors="coerce").to_numpy(float)
            point = pd.to_numeric(pd.Series([row.coordX, row.coordY, row.coordZ]), errors="coerce").to_numpy(float)
            if row.seriesuid not in paths or not np.isfinite(point).all():
                continue
            # the challenge calls a candidate positive that lies within the radius of a nodule
            near = at is not None and bool((np.linalg.norm(at[:, :3] - point, axis=1) <= at[:, 3] / 2 + 1).any())
            if not near:
                where = f"line {row.line} of {self.options.candidates_file}"
                findings.append(Finding("warn", f"{where} is positive but lies in no nodule of {ANNOTATIONS}"))
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of the tables and of every scan's path and size."""
        files = Files.under(root, "LUNA16")
        names = (self.options.candidates_file, ANNOTATIONS, PATIENTS)
        texts = [root / path for name in names for path in files.named(name)]
        scans = [root / path for path in files.every(".mhd", *DATA) if _uid_of(path) is not None]
        return fingerprint_of(root, texts, scans)


def _table_of(root: Path, name: str) -> Path | None:
    """Return where an optional table lies."""
    path = Files.under(root, "LUNA16").maybe(name)
    return None if path is None else root / path


def _patients(root: Path) -> dict[str, str]:
    """Return seriesuid → patient, where the table is there."""
    path = _table_of(root, PATIENTS)
    if path is None:
        return {}
    table = read_table(path, ("seriesuid", "patient_id"))
    return dict(zip(table["seriesuid"], table["patient_id"], strict=True))


def _check_raw(header: Path) -> list[Finding]:
    """Compare the size of uncompressed data with what the header promises, without reading them."""
    try:
        fields = metaimage_fields(header)
        data = fields.get("ElementDataFile", "")
        if data in ("", "LOCAL") or fields.get("CompressedData", "False") == "True":
            return []
        path = header.parent / plain_name(data, str(header))
        shape = scan_grid(header).shape
    except DataError as error:
        return [Finding("fail", str(error))]
    if not path.is_file():
        return [Finding("fail", f"no file {path}, which {header.name} names; expected it beside the header; fetch it")]
    width = {"MET_SHORT": 2, "MET_USHORT": 2, "MET_UCHAR": 1, "MET_CHAR": 1, "MET_INT": 4, "MET_FLOAT": 4}
    wanted = int(np.prod(shape)) * width.get(fields.get("ElementType", ""), 0)
    found = path.stat().st_size
    if wanted and found != wanted and "HeaderSize" not in fields:
        problem = "it is cut" if found < wanted else "its header is another's"
        return [Finding("fail", f"{path} has {found} bytes; expected {wanted}, {problem}; fetch both again")]
    return []


def _check_lungs(root: Path, paths: Mapping[str, str], decode: bool) -> list[Finding]:
    """Compare the lung masks that are there with their scans."""
    files = Files.under(root, "LUNA16")
    masks = files.by(lambda path: Path(path).stem if LUNGS in path.split("/")[:-1] else None, ".mhd")
    alone = [Finding("warn", f"{mask} has no scan") for uid, mask in sorted(masks.paths.items()) if uid not in paths]
    pairs = [(root / mask, root / paths[uid]) for uid, mask in sorted(masks.paths.items()) if uid in paths]
    looked = each(lambda pair: _check_lung(*pair, decode), pairs, "opening lung masks")
    return [*masks.findings(), *alone, *(finding for _, found in looked for finding in found)]


def _check_lung(mask: Path, scan: Path, decode: bool) -> list[Finding]:
    """Compare a lung mask with its scan."""
    findings = []
    try:
        problem = difference(mask, scan_grid(mask), scan, scan_grid(scan))
        if problem:
            findings.append(Finding("fail", problem))
        if decode:
            whole_labels(mask, read_scan(mask).voxels, LUNG_VALUES)
    except DataError as error:
        findings.append(Finding("fail", str(error)))
    return findings


ADAPTER = Luna16()
