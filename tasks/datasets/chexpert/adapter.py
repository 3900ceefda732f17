"""CheXpert (Irvin et al. 2019): 223,414 radiographs of 64,540 patients with 14 labels in four states, 234 for test.

Read as downloaded: ``CheXpert-v1.0[-small]/{train,valid}/patientNNNNN/studyN/viewN_{frontal,lateral}.jpg`` beside
``train.csv`` and ``valid.csv``; also as newer downloads have it, in folders ``CheXpert-v1.0 batch 1 (validate & csv)``,
which holds the two tables and ``valid/``, and ``CheXpert-v1.0 batch N (train N-1)``, with or without ``train/`` in
between. All of it is found however deep it lies. Handled here:

* ``Path`` holds the root's name, ``CheXpert-v1.0-small`` or another: whatever it says, the files that are there are
  read, and a case is known by what follows, so both sizes have the same cases, splits and label subsets;
* cells are 1, 0, −1 (uncertain) or empty (unmentioned). Empty is read as 0, as the authors do; −1 is kept, and the
  transfer's ``uncertain`` option decides;
* laterals, ``AP/PA`` of ``LL`` and ``RL``, a Sex ``Unknown``, studies out of order: rows are sorted.

Test is ``valid.csv``, the 234 images that the paper scores on. Which training images the authors validated on is
unpublished: a share of the training patients, drawn with a seed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from harness.errors import DataError
from harness.late import pd
from harness.spec import Frozen
from harness.typed import read
from tasks.layouts.finding import Choice, Files
from tasks.layouts.images import shape_of
from tasks.layouts.in_parallel import OPENING, each
from tasks.layouts.index import Finding, Index, count_differences, fingerprint_of, leaks, missing_cases, refuse
from tasks.layouts.splits import draw_patients
from tasks.layouts.tables import read_table, repeated_rows, whole_number
from tasks.options import Split

LABELS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
SCORED = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS)
TEST_CASES = "c88591842d2a3c7a32e05ba0c8e7aa4ba018eacc919fb70328d60bc8499cbbb7"  # of the 234 paths of valid.csv
FILES = {"train": "train.csv", "valid": "valid.csv"}
PATH = r"^(?:[^/\\]+/)*(train|valid)/(patient\d+)/(study\d+)/(view\d+_(frontal|lateral)\.jpg)$"
NAME = r"view\d+_(?:frontal|lateral)\.jpg"
IMAGE = re.compile(rf"(?:^|/)(patient\d+)/(?:\1/)*(study\d+)/(?:\2/)*(?:{NAME}/)?({NAME})$")  # a folder may be doubled
PART = re.compile(r"(?:^|/)(?:(train|valid)|CheXpert-v1\.0 batch \d+ \((train|valid)[^/]*)(?=/)")
BLANK, UNKNOWN = 2, 9
STATE_NAMES = {1: "positive", 0: "negative", -1: "uncertain", BLANK: "blank"}
DEFAULT_SPLIT = Split(rule="official", validation_fraction=0.1, seed=99)
_FIVE = {  # positive, negative, uncertain, blank cells of train.csv
    "Atelectasis": (33_376, 1_328, 33_739, 154_971),
    "Cardiomegaly": (27_000, 11_116, 8_087, 177_211),
    "Consolidation": (14_783, 28_097, 27_742, 152_792),
    "Edema": (52_246, 20_726, 12_984, 137_458),
    "Pleural Effusion": (86_187, 35_396, 11_628, 90_203),
}
PUBLISHED = {  # counted on the files themselves
    "training images": 223_414,
    "training patients": 64_540,
    "training studies": 187_641,
    "frontal training images": 191_027,
    "lateral training images": 32_387,
    "test images": 234,
    "test patients": 200,
    "frontal test images": 202,
    **{f"{state} {n}": c for n, cells in _FIVE.items() for state, c in zip(STATE_NAMES.values(), cells, strict=True)},
}


def read_labels(path: Path) -> pd.DataFrame:
    """Read ``train.csv`` or ``valid.csv``.

    Returns:
        In the file's order: ``case`` (``train/patient00001/study1/view1_frontal.jpg``), ``part``, ``patient``,
        ``study``, ``view``, one int8 column per label (1, 0, −1, 2 for empty) and ``problem``: what is wrong with the
        row, or "".

    Raises:
        DataError: If the file is absent or no table, a column is missing, or a path is none of the data set.
    """
    frame = read_table(path, HEADER)
    parts = frame["Path"].str.extract(PATH)
    odd = parts[0].isna()
    if odd.any():
        row = int(odd.to_numpy().argmax())
        raise DataError(
            f'line {row + 2} of {path} has the Path "{frame["Path"].iloc[row]}"; expected '
            "…/train/patient00001/study1/view1_frontal.jpg or the like; correct that line"
        )
    cases = pd.DataFrame({
        "case": parts[0] + "/" + parts[1] + "/" + parts[2] + "/" + parts[3],
        "part": parts[0],
        "patient": parts[1],
        "study": parts[1] + "/" + parts[2],
        "view": parts[4],
    })  # fmt: skip
    problem = pd.Series("", index=cases.index)
    for label in LABELS:
        text = frame[label]
        cases[label] = text.map({cell: _state(cell) for cell in text.unique()}).astype("int8")
        wrong = cases[label] == UNKNOWN
        problem[wrong] = label + ' is "' + text[wrong] + '"; expected 1.0, 0.0, -1.0 or nothing'
    said = frame["Frontal/Lateral"].str.lower()
    wrong = said != cases["view"]
    problem[wrong] = 'Frontal/Lateral is "' + frame["Frontal/Lateral"][wrong] + '"; expected what the file name says'
    cases["problem"] = problem
    return cases


def _state(cell: str) -> int:
    """Return 1, 0 or −1, ``BLANK`` for nothing and ``UNKNOWN`` for anything else."""
    number = whole_number(cell)
    return BLANK if cell == "" else number if number in (1, 0, -1) else UNKNOWN


@dataclass(frozen=True)
class Layout:
    """Where the files of a data root lie, relative to it: ``tables`` by part, images by (part, rest of the path)."""

    root: Path
    tables: Mapping[str, str]
    images: Choice[tuple[str, str]]
    told: tuple[Finding, ...]

    @classmethod
    def of(cls, root: Path) -> Layout:
        """Look for the files.

        Raises:
            DataError: If a table is absent, or lies in two places with other content.
        """
        files = Files.under(root, "CheXpert")
        labelled = _without_foreign_tables(files)
        tables = {part: labelled.one(name, what="a label file of CheXpert") for part, name in FILES.items()}
        return cls(root, tables, files.by(_image, ".jpg"), tuple(labelled.twice(*FILES.values())))

    def table(self, part: str) -> Path:
        """Return the path of ``train.csv`` or ``valid.csv``."""
        return self.root / self.tables[part]

    def paths(self, cases: pd.DataFrame) -> dict[str, str]:
        """Return case → path relative to the root, of the images that are there."""
        found = {}
        for case, part in zip(cases["case"], cases["part"], strict=True):
            rest = case.removeprefix(f"{part}/")
            path = self.images.paths.get((part, rest)) or self.images.paths.get(("", rest))
            if path is not None:
                found[case] = path
        return found


def _without_foreign_tables(files: Files) -> Files:
    """Leave out a ``train.csv`` of someone's own (a split list, say) where one with the data set's header is there."""

    def is_own(path: str) -> bool:
        with (files.root / path).open("rb") as stream:
            head = stream.readline().decode("utf-8-sig", errors="replace")
        return {"Path", *LABELS} <= {name.strip() for name in head.split(",")}

    own = {path for name in FILES.values() for path in files.named(name) if is_own(path)}
    known = {path.rpartition("/")[2] for path in own}
    return files.where(lambda path: path in own or path.rpartition("/")[2] not in known)


def _image(path: str) -> tuple[str, str] | None:
    """Return (train, valid or "", what follows it) of an image; the part is the last folder that names one."""
    match = IMAGE.search(path)
    if match is None:
        return None
    parts = PART.findall(path[: match.start(1)])
    return ("".join(parts[-1]) if parts else ""), "/".join(match.groups())


class Options(Frozen):
    """How the files are read.

    Attributes:
        views: Which views are cases.
    """

    views: Literal["all", "frontal", "lateral"] = "all"


@dataclass(frozen=True)
class CheXpert:
    """The adapter; see the module for what it copes with.

    Attributes:
        views: ``all`` images, as the paper, or those of one view alone, in train, validation and test alike.
    """

    name: str = "chexpert"
    labels: tuple[str, ...] = LABELS
    views: str = "all"
    test_cases: ClassVar[str] = TEST_CASES

    def with_options(self, options: Mapping[str, object]) -> CheXpert:
        """Return the adapter with ``options.cohort.adapter`` of an entry: ``{views: all | frontal | lateral}``.

        Raises:
            Mistakes: For an unknown key or value.
        """
        return replace(self, views=read(Options, dict(options), "options.cohort.adapter.").views)

    def _cases(self, layout: Layout, split: Split) -> tuple[pd.DataFrame, str]:
        """Return every row with its split, and the rule in words."""
        if split.rule != "official":
            raise DataError(f'split "{split.rule}" of CheXpert is not offered; expected "official"; correct the entry')
        train, test = (read_labels(layout.table(part)) for part in ("train", "valid"))
        validation = draw_patients(train["patient"], split.validation_fraction, split.seed)
        held = train["patient"].isin(validation)
        train["split"] = held.map({True: "validation", False: "train"})
        test["split"] = "test"
        cases = pd.concat([train, test], ignore_index=True)
        share = f"{split.validation_fraction:.0%}"
        rule = f"test is valid.csv; validation is {share} of the training patients, drawn with seed {split.seed}"
        if self.views != "all":  # after the draw: every choice of views has the same validation patients
            cases = cases[cases["view"] == self.views]
            rule += f"; {self.views} views alone"
        return cases.sort_values("case", ignore_index=True), rule

    def read(self, root: Path, split: Split) -> Index:
        """Index every image of the two label files.

        Raises:
            DataError: For a missing file or column, a malformed cell, an image listed twice or not there, or an
                uncertain or empty cell in the test file.
        """
        layout = Layout.of(root)
        cases, rule = self._cases(layout, split)
        refuse((*_check_rows(cases, layout), *leaks(cases)))
        layout.images.required()
        paths = layout.paths(cases)
        refuse(_absent(layout, cases, paths, split))
        cases = cases[cases["case"].isin(paths.keys())].reset_index(drop=True)
        cases["image"] = cases["case"].map(paths)
        states = {part: _states(cases[cases["split"] == part]) for part in ("train", "validation", "test")}
        table = cases[["case", "patient", "image", "split"]].copy()
        for label in LABELS:
            table[label] = cases[label].where(cases[label] != BLANK, 0).astype("int8")
        facts = {
            "views": self.views,
            "images_by_view": {str(k): int(n) for k, n in sorted(cases["view"].value_counts().items())},
            "label_cells": states,
            "blank_cells": "read as negative",
        }
        own = ("images_by_view", "label_cells")
        return Index(table, LABELS, split_rule=rule, facts=facts, split_facts=own)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check cells, paths, leaks and images; see ``Adapter.verify``."""
        split = split or DEFAULT_SPLIT
        layout = Layout.of(root)
        cases, _ = self._cases(layout, split)
        findings = [*layout.told, *layout.images.findings(), *_check_rows(cases, layout), *leaks(cases)]
        paths = layout.paths(cases)
        findings += _absent(layout, cases, paths, split)
        if decode:
            found = each(lambda case: shape_of(root / paths[case]), sorted(paths), OPENING)
            findings += [problem for _, problem in found if isinstance(problem, Finding)]
        if published and self.views == "all" and not split.sample:
            findings += count_differences(_counts(cases), PUBLISHED, "CheXpert")
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of the two label files and of every listed image's path and size."""
        layout = Layout.of(root)
        texts = [layout.table(part) for part in FILES]
        cases = pd.concat([read_labels(path) for path in texts], ignore_index=True)
        return fingerprint_of(root, texts, [root / path for path in layout.paths(cases).values()])


def _absent(layout: Layout, cases: pd.DataFrame, paths: Mapping[str, str], split: Split) -> list[Finding]:
    """Return what listed images that are not there amount to, by split."""
    findings = []
    for part, frame in cases.groupby("split"):
        absent = [case for case in frame["case"] if case not in paths]
        findings += missing_cases(f"{part} images", absent, len(frame), layout.root, split)
    return findings


def _states(cases: pd.DataFrame) -> dict[str, dict[str, int]]:
    return {
        label: {name: int((cases[label] == value).sum()) for value, name in STATE_NAMES.items()} for label in LABELS
    }


def _counts(cases: pd.DataFrame) -> dict[str, int]:
    train, test = cases[cases["part"] == "train"], cases[cases["part"] == "valid"]
    counts = {
        "training images": len(train),
        "training patients": train["patient"].nunique(),
        "training studies": train["study"].nunique(),
        "frontal training images": int((train["view"] == "frontal").sum()),
        "lateral training images": int((train["view"] == "lateral").sum()),
        "test images": len(test),
        "test patients": test["patient"].nunique(),
        "frontal test images": int((test["view"] == "frontal").sum()),
    }
    cells = _states(train)
    return counts | {f"{state} {label}": n for label in SCORED for state, n in cells[label].items()}


def _check_rows(cases: pd.DataFrame, layout: Layout) -> list[Finding]:
    """Check what the label files say, each row by itself and against the others."""
    findings = [
        Finding("fail", f"{case} in {layout.table(part)}: {problem}")
        for case, part, problem in cases.loc[cases["problem"] != "", ["case", "part", "problem"]].itertuples(
            index=False
        )
    ]
    findings += repeated_rows(cases, "case", ["part", *LABELS], f"{FILES['train']} or {FILES['valid']}")
    for case in cases.loc[(cases["split"] == "test") != (cases["part"] == "valid"), "case"]:
        findings.append(
            Finding(
                "fail",
                f"{case} is in the wrong label file below {layout.root}; expected train/ in train.csv and valid/ in "
                "valid.csv; correct it",
            )
        )
    test = cases[cases["split"] == "test"]
    for label in LABELS:
        for state in (-1, BLANK):
            rows = test.loc[test[label] == state, "case"]
            if len(rows):
                found = f"{len(rows)} {STATE_NAMES[state]} cells of {label} in {layout.table('valid')}"
                findings.append(Finding("fail", f"{found} (first: {rows.iloc[0]}); expected 1.0 or 0.0 for test"))
    healthy = cases[cases["No Finding"] == 1]
    others = [label for label in LABELS if label not in ("No Finding", "Support Devices")]
    both = healthy[(healthy[others] == 1).any(axis=1)]
    if len(both):
        findings.append(
            Finding("warn", f'{len(both)} images are "No Finding" and positive at once (first: {both["case"].iloc[0]})')
        )
    return findings


ADAPTER = CheXpert()
