"""ChestX-ray14 (Wang et al. 2017): 112,120 frontal radiographs of 30,805 patients, 14 text-mined labels, 984 boxes.

Read as they lie on disk, in the original download (``images/``) and in the mirror that keeps twelve folders
(``images_001/images/`` …). Quirks handled here:

* two releases of the label file; brackets in its header hold unquoted commas, the first release ends each line in one
  more comma, and the sex is called ``Patient Gender`` or ``Patient Sex``;
* the box file's header has nine fields and its rows six (a mirror: nine), so boxes are read by position; its label
  ``Infiltrate`` is the label file's ``Infiltration``;
* some PNGs are RGBA.

Test is the official list. Train and validation are the authors' lists where they lie in the root
(``Xray14_train_official.txt``, ``Xray14_val_official.txt``); otherwise validation is drawn from the official
train_val list by patient, with a seed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.errors import DataError
from tasks.datasets.images import image_size, plain_name, read_grey
from tasks.datasets.index import Finding, Index, count_differences, fingerprint_of, leaks, require_folder
from tasks.datasets.splits import draw_patients
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
    frame = pd.read_csv(path, dtype=str, index_col=False, keep_default_na=False, encoding="utf-8-sig")
    frame.columns = [str(c).strip() for c in frame.columns]
    missing = [c for c in COLUMNS if c not in frame.columns]
    if not any(c in frame.columns for c in SEX_COLUMNS):
        missing.append(" or ".join(SEX_COLUMNS))
    if missing:
        raise DataError(
            f'{path} lacks the column {", ".join(missing)}; expected the header "Image Index,Finding Labels,…"; '
            "fetch the file again"
        )
    cases = pd.DataFrame({"case": frame["Image Index"].str.strip(), "patient": frame["Patient ID"].str.strip()})
    if cases["case"].duplicated().any():
        twice = cases.loc[cases["case"].duplicated(), "case"].iloc[0]
        raise DataError(f"{path} lists {twice} twice; expected one row an image; remove one")
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
    if not path.is_file():
        raise DataError(f"no split list {path}; expected {path.name} of the data set beside its images; fetch it")
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [plain_name(line.split()[0], str(path)) for line in lines if line.strip()]


def image_paths(root: Path) -> dict[str, str]:
    """Return file name → path relative to the root, over ``images/``, ``images_*/images/`` and ``images_*/``."""
    folders = [root / "images", *sorted(root.glob("images_*/images")), *sorted(root.glob("images_*"))]
    paths: dict[str, str] = {}
    for folder in folders:
        if folder.is_dir():
            inside = folder.relative_to(root).as_posix()
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() == ".png":
                    paths.setdefault(path.name, f"{inside}/{path.name}")
    return paths


def label_file(root: Path) -> Path:
    """Return the newer of the label files that are there.

    Raises:
        DataError: If there is none.
    """
    require_folder(root, "ChestX-ray14")
    for name in LABEL_FILES:
        if (root / name).is_file():
            return root / name
    raise DataError(f"no {' or '.join(LABEL_FILES)} in {root}; expected the label file of ChestX-ray14; put it there")


def assign_splits(root: Path, cases: pd.DataFrame, split: Split) -> tuple[pd.Series, str]:
    """Return the split of each case ("" for images in no list) and the rule in words.

    Raises:
        DataError: If a list names an image that the label file does not know.
    """
    if split.rule != "official":
        raise DataError(f'split "{split.rule}" of ChestX-ray14 is not offered; expected "official"; correct the entry')
    test = read_list(root / TEST_LIST)
    lists = {"test": test}
    if all((root / name).is_file() for name in AUTHORS_LISTS.values()):
        lists |= {part: read_list(root / name) for part, name in AUTHORS_LISTS.items()}
        rule = "official test list; the authors' train and validation lists"
    else:
        rest = read_list(root / TRAIN_VALIDATION_LIST)
        patient = dict(zip(cases["case"], cases["patient"], strict=True))
        held = draw_patients((patient.get(n, "") for n in rest), split.validation_fraction, split.seed)
        lists["train"] = [name for name in rest if patient.get(name, "") not in held]
        lists["validation"] = [name for name in rest if patient.get(name, "") in held]
        share = f"{split.validation_fraction:.0%}"
        rule = f"official test list; validation is {share} of the other patients, drawn with seed {split.seed}"
    known = set(cases["case"])
    assigned: dict[str, str] = {}
    for part, names in lists.items():
        for name in names:
            if name not in known:
                raise DataError(f"the {part} list of {root} names {name}, which the label file lacks; fetch both again")
            if assigned.get(name, part) != part:
                raise DataError(f"{name} is in the lists {assigned[name]} and {part} of {root}; expected one of them")
            assigned[name] = part
    return cases["case"].map(lambda name: assigned.get(name, "")), rule


@dataclass(frozen=True)
class ChestXray14:
    """The adapter; see the module for what it copes with."""

    name: str = "chestxray14"
    labels: tuple[str, ...] = LABELS

    def read(self, root: Path, split: Split) -> Index:
        """Index every listed image.

        Raises:
            DataError: For a missing file, list or column, or a name that leaves the root.
        """
        cases = read_labels(label_file(root))
        paths = image_paths(root)
        cases["split"], rule = assign_splits(root, cases, split)
        cases = cases[cases["split"] != ""]
        absent = sorted(set(cases["case"]) - set(paths))
        if absent:
            raise DataError(f"{len(absent)} listed images are not under {root} (first: {absent[0]}); fetch them")
        cases = cases.assign(image=cases["case"].map(paths)).sort_values("case", ignore_index=True)
        boxes = read_boxes(root / BOX_FILE) if (root / BOX_FILE).is_file() else None
        if boxes is not None:
            boxes = boxes[boxes["case"].isin(set(cases["case"]))].reset_index(drop=True)
        columns = ["case", "patient", "image", "split", *LABELS]
        return Index(cases[columns], LABELS, boxes=boxes, split_rule=rule)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check labels, lists, images and boxes; see ``Adapter.verify``."""
        split = split or Split(rule="official", validation_fraction=0.13, seed=99)
        cases = read_labels(label_file(root))
        findings = []
        for text in sorted(set(cases["unknown"]) - {""}):
            findings.append(
                Finding("fail", f'unknown label "{text}" in {label_file(root).name}; expected {NO_FINDING} ')
            )
        both = cases[(cases["no_finding"] == 1) & (cases[list(LABELS)].sum(axis=1) > 0)]
        if len(both):
            findings.append(Finding("fail", f'{len(both)} images are "{NO_FINDING}" and positive at once'))
        cases["split"], _ = assign_splits(root, cases, split)
        unlisted = int((cases["split"] == "").sum())
        if unlisted:
            findings.append(
                Finding("warn", f"{unlisted} images of the label file are in no split list and are left out")
            )
        listed = cases[cases["split"] != ""]
        findings += leaks(listed)
        paths = image_paths(root)
        absent = sorted(set(listed["case"]) - set(paths))
        if absent:
            findings.append(Finding("fail", f"{len(absent)} listed images are missing (first: {absent[0]})"))
        counts = {
            "images": len(cases),
            "patients": cases["patient"].nunique(),
            NO_FINDING: int(cases["no_finding"].sum()),
        }
        counts |= {part: int((listed["split"] == part).sum()) for part in ("train", "validation", "test")}
        counts |= {label: int(cases[label].sum()) for label in LABELS}
        if (root / BOX_FILE).is_file():
            boxes = read_boxes(root / BOX_FILE)
            findings += _check_boxes(root, boxes, listed, paths)
            counts |= {"boxes": len(boxes), "boxed images": boxes["case"].nunique()}
        else:
            findings.append(Finding("warn", f"no {BOX_FILE}; localization cannot be scored"))
        if decode:
            for name in sorted(set(listed["case"]) & set(paths)):
                try:
                    read_grey(root / paths[name])
                except DataError as error:
                    findings.append(Finding("fail", str(error)))
        if published:
            findings += count_differences(counts, PUBLISHED, "ChestX-ray14")
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of the label, box and list files and of every image's path and size."""
        names = (label_file(root).name, BOX_FILE, TRAIN_VALIDATION_LIST, TEST_LIST, *AUTHORS_LISTS.values())
        texts = [root / name for name in names if (root / name).is_file()]
        return fingerprint_of(root, texts, [root / path for path in image_paths(root).values()])


def _check_boxes(root: Path, boxes: pd.DataFrame, listed: pd.DataFrame, paths: dict[str, str]) -> list[Finding]:
    findings = []
    known = listed.set_index("case")
    for box in boxes.itertuples(index=False):
        what = f"box {box.label} of {box.case}"
        if box.label not in LABELS:
            findings.append(Finding("fail", f'{what}: unknown label "{box.label}"'))
        elif box.case not in known.index:
            findings.append(Finding("warn", f"{what}: the image is in no split list"))
        elif box.case in paths:
            try:
                width, height = image_size(root / paths[box.case])
            except DataError as error:
                findings.append(Finding("fail", str(error)))
                continue
            inside = box.x >= 0 and box.y >= 0 and box.x + box.width <= width and box.y + box.height <= height
            if not inside or box.width <= 0 or box.height <= 0:
                found = f"{box.x:g},{box.y:g},{box.width:g},{box.height:g}"
                findings.append(Finding("fail", f"{what} is {found}; expected it inside the {width}×{height} image"))
            if not known.at[box.case, box.label]:
                findings.append(Finding("warn", f"{what}: the image is not labelled {box.label}"))
            if known.at[box.case, "split"] != "test":
                findings.append(Finding("fail", f"{what} lies on a training image; expected boxes on test images only"))
    return findings


ADAPTER = ChestXray14()
