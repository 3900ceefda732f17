"""ChestX-ray14 (Wang et al. 2017): 112,120 frontal radiographs of 30,805 patients, 14 text-mined labels, 984 boxes.

Read as they lie on disk, however deep: in the original download (``images/``), in the mirror that keeps twelve folders
(``images_001/images/`` …), or in these below another. Quirks handled here:

* two releases of the label file; brackets in its header hold unquoted commas, the first release ends each line in one
  more comma, and the sex is called ``Patient Gender`` or ``Patient Sex``;
* the box file's header has nine fields and its rows six (a mirror: nine), so boxes are read by position; its label
  ``Infiltrate`` is the label file's ``Infiltration``;
* some PNGs are RGBA, grey and opaque.

Where the images were reduced, ``original_px`` says the side of the originals, in whose pixels the boxes are.

Test is the official list. Train and validation are the authors' lists where they lie in the root
(``Xray14_train_official.txt``, ``Xray14_val_official.txt``); otherwise validation is drawn from the official
train_val list by patient, with a seed. A declared sample may lack images, rows of the label file and the lists.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.errors import DataError
from harness.late import pd
from harness.spec import Frozen
from harness.typed import read
from tasks.layouts.finding import Choice, Files
from tasks.layouts.images import image_size, plain_name, shape_of
from tasks.layouts.in_parallel import OPENING, each
from tasks.layouts.index import (
    Finding,
    Index,
    boxes_of,
    count_differences,
    fingerprint_of,
    leaks,
    missing_cases,
    refuse,
)
from tasks.layouts.splits import draw_patients
from tasks.layouts.tables import read_table, repeated_rows
from tasks.options import Split

LABELS = (  # the column order of the authors' lists
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NO_FINDING = "No Finding"
NOTHING = "(nothing)"  # how an empty entry of a list of labels is reported
BOX_SPELLING = {"Infiltrate": "Infiltration"}
LABEL_FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOX_FILE = "BBox_List_2017.csv"
TRAIN_VALIDATION_LIST, TEST_LIST = "train_val_list.txt", "test_list.txt"
AUTHORS_LISTS = {"train": "Xray14_train_official.txt", "validation": "Xray14_val_official.txt"}
TEST_CASES = "2d1a4703d00ee9096b8e5dc46cd377afc69fdea3922c96819f366592b83434c2"  # of the 25,596 names of test_list.txt
IMAGE_FOLDER = re.compile(r"^images(?:_\d+)?$", re.IGNORECASE)
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
SEX_COLUMNS = ("Patient Gender", "Patient Sex")
PUBLISHED = {  # counted on the files themselves
    "images": 112_120,
    "patients": 30_805,
    "train": 75_312,
    "validation": 11_212,
    "test": 25_596,
    "boxes": 984,
    "boxed images": 880,
    NO_FINDING: 60_361,
    "Infiltration": 19_894,
    "Effusion": 13_317,
    "Atelectasis": 11_559,
    "Nodule": 6_331,
    "Mass": 5_782,
    "Pneumothorax": 5_302,
    "Consolidation": 4_667,
    "Pleural_Thickening": 3_385,
    "Cardiomegaly": 2_776,
    "Emphysema": 2_516,
    "Edema": 2_303,
    "Fibrosis": 1_686,
    "Pneumonia": 1_431,
    "Hernia": 227,
}


def read_labels(path: Path) -> pd.DataFrame:
    """Read the label file of either release.

    Returns:
        ``case`` (file name), ``patient``, one 0/1 column per label, and ``unknown``: labels outside the vocabulary
        joined by ``|``.

    Raises:
        DataError: If a column is missing or an image is listed twice.
    """
    frame = read_table(path, COLUMNS)
    if not any(c in frame.columns for c in SEX_COLUMNS):
        raise DataError(
            f"{path} lacks the column {' or '.join(SEX_COLUMNS)}; expected {','.join(COLUMNS)},…; fetch it again"
        )
    refuse(repeated_rows(frame, "Image Index", COLUMNS, str(path)))
    cases = pd.DataFrame({"case": frame["Image Index"], "patient": frame["Patient ID"]})
    for name in cases["case"]:
        plain_name(name, str(path))
    found = frame["Finding Labels"].map(lambda text: {part.strip() for part in text.split("|")})
    for label in LABELS:
        cases[label] = found.map(lambda labels, label=label: label in labels).astype("int8")
    vocabulary = {*LABELS, NO_FINDING}
    cases["unknown"] = found.map(lambda labels: "|".join(sorted(part or NOTHING for part in labels - vocabulary)))
    cases["no_finding"] = found.map(lambda labels: NO_FINDING in labels).astype("int8")
    return cases


def read_boxes(path: Path) -> pd.DataFrame:
    """Read the box file by position.

    Returns:
        ``case, label, x, y, width, height`` in pixels, the label in the label file's spelling.

    Raises:
        DataError: If a row does not start with a name, a label and four numbers.
    """
    rows = []
    with path.open(newline="", encoding="utf-8-sig") as stream:
        for number, fields in enumerate(csv.reader(stream), start=1):
            if number == 1 or not any(fields):
                continue
            try:
                numbers = [float(value) for value in fields[2:6]]
                if len(numbers) != 4:
                    raise ValueError
            except ValueError:
                raise DataError(
                    f"line {number} of {path} is {','.join(fields)!r}; expected name, label and x, y, w, h; correct it"
                ) from None
            name = plain_name(fields[0].strip(), str(path))
            rows.append([name, BOX_SPELLING.get(fields[1].strip(), fields[1].strip()), *numbers])
    return pd.DataFrame(rows, columns=["case", "label", "x", "y", "width", "height"])


def read_list(path: Path) -> list[str]:
    """Read a split list: the first whitespace-separated field of each line is a file name."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [plain_name(line.split()[0], str(path)) for line in lines if line.strip()]


@dataclass(frozen=True)
class Layout:
    """Where the files of a data root lie, relative to it; None for what is not there."""

    root: Path
    images: Choice[str]
    labels: str
    boxes: str | None
    lists: Mapping[str, str]
    told: tuple[Finding, ...]

    @classmethod
    def of(cls, root: Path) -> Layout:
        """Look for the files.

        Raises:
            DataError: If there is no label file, or a table or list lies in two places with other content.
        """
        files = Files.under(root, "ChestX-ray14")
        labels = files.one(*LABEL_FILES, what="the label file of ChestX-ray14")
        lists = {name: files.maybe(name) for name in (TRAIN_VALIDATION_LIST, TEST_LIST, *AUTHORS_LISTS.values())}
        return cls(
            root=root,
            images=_images(files),
            labels=labels,
            boxes=files.maybe(BOX_FILE),
            lists={name: path for name, path in lists.items() if path is not None},
            told=tuple(files.twice(labels.rpartition("/")[2], BOX_FILE, *lists)),
        )

    def cases(self) -> pd.DataFrame:
        """Read the label file."""
        return read_labels(self.root / self.labels)

    def names(self, name: str) -> list[str]:
        """Read a list.

        Raises:
            DataError: If it is not there.
        """
        if name not in self.lists:
            raise DataError(f"no split list {name} below {self.root}; expected it beside the label file; fetch it")
        return read_list(self.root / self.lists[name])


def _images(files: Files) -> Choice[str]:
    """Return the PNGs below folders ``images`` or ``images_001`` …, or all of them where there is no such folder."""
    usual = files.where(lambda path: any(map(IMAGE_FOLDER.match, path.split("/")[:-1])))
    return (usual if usual.every(".png") else files).by_name(".png")


def assign_splits(layout: Layout, cases: pd.DataFrame, split: Split) -> tuple[pd.Series, str, list[Finding]]:
    """Return the split of each case ("" for images in no list), the rule in words, and what lists lack.

    Raises:
        DataError: If a list is absent, names an image that the label file does not know, or one that another has.
    """
    if split.rule != "official":
        raise DataError(f'split "{split.rule}" of ChestX-ray14 is not offered; expected "official"; correct the entry')
    if split.sample and TEST_LIST not in layout.lists:
        return pd.Series("", index=cases.index), "no official list is there", []
    lists, rule = _read_lists(layout, cases, split)
    known = set(cases["case"])
    assigned: dict[str, str] = {}
    findings = []
    for part, names in lists.items():
        unlabelled = sorted(set(names) - known)
        if unlabelled and not split.sample:
            raise DataError(
                f"the {part} list of {layout.root} names {unlabelled[0]}, which the label file lacks; fetch both again"
            )
        findings += missing_cases(f"{part} images of the lists", unlabelled, len(names), layout.root, split)
        for name in names:
            if assigned.setdefault(name, part) != part:
                raise DataError(
                    f"{name} is in the lists {assigned[name]} and {part} of {layout.root}; expected one of them"
                )
    return cases["case"].map(lambda name: assigned.get(name, "")), rule, findings


def _read_lists(layout: Layout, cases: pd.DataFrame, split: Split) -> tuple[dict[str, list[str]], str]:
    """Return split → names, from the official lists and, where they lie there, the authors'; and the rule in words."""
    lists = {"test": layout.names(TEST_LIST)}
    if all(name in layout.lists for name in AUTHORS_LISTS.values()):
        lists |= {part: layout.names(name) for part, name in AUTHORS_LISTS.items()}
        return lists, "official test list; the authors' train and validation lists"
    rest = layout.names(TRAIN_VALIDATION_LIST)
    patient = dict(zip(cases["case"], cases["patient"], strict=True))
    held = draw_patients((patient.get(n, "") for n in rest), split.validation_fraction, split.seed)
    lists["train"] = [name for name in rest if patient.get(name, "") not in held]
    lists["validation"] = [name for name in rest if patient.get(name, "") in held]
    share = f"{split.validation_fraction:.0%}"
    return lists, f"official test list; validation is {share} of the other patients, drawn with seed {split.seed}"


def absent_images(layout: Layout, listed: pd.DataFrame, split: Split) -> list[Finding]:
    """Return what listed images that are not there amount to, by split."""
    findings = []
    for part, frame in listed.groupby("split"):
        absent = sorted(set(frame["case"]) - set(layout.images.paths))
        findings += missing_cases(f"{part} images".strip(), absent, len(frame), layout.root, split)
    return findings


class Options(Frozen):
    """How the files are read.

    Attributes:
        original_px: Side of the images in which boxes were drawn, where those on disk were reduced; None: not reduced.
    """

    original_px: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class ChestXray14:
    """The adapter; see the module for what it copes with.

    Attributes:
        original_px: Side of the pictures in whose pixels the boxes are, where those on disk were reduced: 1024 for the
            published boxes. None: boxes are in pixels of the images as they are.
    """

    name: str = "chestxray14"
    labels: tuple[str, ...] = LABELS
    original_px: int | None = None
    test_cases: ClassVar[str] = TEST_CASES

    def with_options(self, options: Mapping[str, object]) -> ChestXray14:
        """Return the adapter with ``options.cohort.adapter`` of an entry: ``{original_px: SIDE | null}``.

        Raises:
            Mistakes: For an unknown key or value.
        """
        return replace(self, original_px=read(Options, dict(options), "options.cohort.adapter.").original_px)

    @property
    def box_frame(self) -> tuple[int, int] | None:
        """(width, height) of the pictures in whose pixels the boxes are; None: the images' own."""
        return None if self.original_px is None else (self.original_px, self.original_px)

    def read(self, root: Path, split: Split) -> Index:
        """Index every listed image; in a declared sample without official lists, every image.

        Raises:
            DataError: For a missing file, list or column, or a name that leaves the root.
        """
        layout = Layout.of(root)
        paths = layout.images.required()
        cases = layout.cases()
        cases["split"], rule, _ = assign_splits(layout, cases, split)
        cases = _listed(layout, cases, split)
        refuse(absent_images(layout, cases, split))
        cases = cases[cases["case"].isin(paths.keys())]
        cases = cases.assign(image=cases["case"].map(paths)).sort_values("case", ignore_index=True)
        boxes = read_boxes(root / layout.boxes) if layout.boxes else None
        if boxes is not None:
            boxes = boxes[boxes["case"].isin(set(cases["case"]))].reset_index(drop=True)
        columns = ["case", "patient", "image", "split", *LABELS]
        return Index(cases[columns], LABELS, boxes=boxes, box_frame=self.box_frame, split_rule=rule)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check labels, lists, images and boxes; see ``Adapter.verify``."""
        split = split or Split(rule="official", validation_fraction=0.13, seed=99)
        layout = Layout.of(root)
        cases = layout.cases()
        findings = [*layout.told, *layout.images.findings(), *_check_labels(layout, cases)]
        cases["split"], _, lacking = assign_splits(layout, cases, split)
        findings += lacking
        listed = _listed(layout, cases, split)
        unlisted = len(cases) - len(listed)
        if unlisted:
            findings.append(
                Finding("warn", f"{unlisted} images of the label file are in no split list and are left out")
            )
        findings += leaks(listed)
        findings += absent_images(layout, listed, split)
        paths = layout.images.paths
        counts = _counts(cases, listed)
        if layout.boxes:
            boxes = read_boxes(root / layout.boxes)
            findings += _check_boxes(root, boxes, listed, paths, self.box_frame)
            counts |= {"boxes": len(boxes), "boxed images": boxes["case"].nunique()}
        else:
            findings.append(Finding("warn", f"no {BOX_FILE}; localization cannot be scored"))
        if decode:
            sizes: dict[tuple[int, ...], list[str]] = {}
            names = sorted(set(listed["case"]) & set(paths))
            for name, found in each(lambda name: shape_of(root / paths[name]), names, OPENING):
                if isinstance(found, Finding):
                    findings.append(found)
                else:
                    sizes.setdefault(found, []).append(name)
            findings += _check_sizes(sizes)
        if published and not split.sample:
            findings += count_differences(counts, PUBLISHED, "ChestX-ray14")
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of the label, box and list files and of every image's path and size."""
        layout = Layout.of(root)
        texts = [layout.labels, *([layout.boxes] if layout.boxes else []), *layout.lists.values()]
        return fingerprint_of(root, [root / path for path in texts], _under(root, layout.images.paths.values()))


def _under(root: Path, paths: Iterable[str]) -> list[Path]:
    return [root / path for path in paths]


def _listed(layout: Layout, cases: pd.DataFrame, split: Split) -> pd.DataFrame:
    """Return the cases that are in a list; all of them in a declared sample without the official ones."""
    return cases if split.sample and TEST_LIST not in layout.lists else cases[cases["split"] != ""]


def _check_labels(layout: Layout, cases: pd.DataFrame) -> list[Finding]:
    findings = [
        Finding("fail", f'unknown label "{text}" in {layout.labels}; expected {NO_FINDING} or the 14 of the data set')
        for text in sorted(set(cases["unknown"]) - {""})
    ]
    both = cases[(cases["no_finding"] == 1) & (cases[list(LABELS)].sum(axis=1) > 0)]
    if len(both):
        findings.append(Finding("fail", f'{len(both)} images are "{NO_FINDING}" and positive at once'))
    return findings


def _counts(cases: pd.DataFrame, listed: pd.DataFrame) -> dict[str, int]:
    counts = {
        "images": len(cases),
        "patients": cases["patient"].nunique(),
        NO_FINDING: int(cases["no_finding"].sum()),
    }
    counts |= {part: int((listed["split"] == part).sum()) for part in ("train", "validation", "test")}
    return counts | {label: int(cases[label].sum()) for label in LABELS}


def _check_sizes(sizes: Mapping[tuple[int, ...], list[str]]) -> list[Finding]:
    """Return a warning where images are not of one size, as the published ones are: some have been made anew."""
    usual = max(sizes, key=lambda size: len(sizes[size]), default=())
    others = sorted(name for size, names in sizes.items() if size != usual for name in names)
    if not others:
        return []
    expected = "×".join(map(str, usual))
    text = f"{len(others)} images are not {expected} px as the others are (first: {others[0]}); expected one size"
    return [Finding("warn", text)]


def _check_boxes(
    root: Path,
    boxes: pd.DataFrame,
    listed: pd.DataFrame,
    paths: Mapping[str, str],
    frame: tuple[int, int] | None,
) -> list[Finding]:
    findings = []
    advice = "" if frame else "; if images were reduced, write options.cohort.adapter.original_px: 1024"
    known = listed.set_index("case")
    for box in boxes_of(boxes):
        what = f"box {box.label} of {box.case}"
        if box.label not in LABELS:
            findings.append(Finding("fail", f'{what}: unknown label "{box.label}"'))
        elif box.case not in known.index:
            findings.append(Finding("warn", f"{what}: the image is in no split list"))
        elif box.case in paths:
            try:
                width, height = frame or image_size(root / paths[box.case])
            except DataError as error:
                findings.append(Finding("fail", str(error)))
                continue
            inside = box.x >= 0 and box.y >= 0 and box.x + box.width <= width and box.y + box.height <= height
            if not inside or box.width <= 0 or box.height <= 0:
                found = f"{box.x:g},{box.y:g},{box.width:g},{box.height:g}"
                findings.append(
                    Finding("fail", f"{what} is {found}; expected it inside the {width}×{height} image{advice}")
                )
            if not known.at[box.case, box.label]:
                findings.append(Finding("warn", f"{what}: the image is not labelled {box.label}"))
            if known.at[box.case, "split"] in ("train", "validation"):
                findings.append(Finding("fail", f"{what} lies on a training image; expected boxes on test images only"))
    return findings


ADAPTER = ChestXray14()
