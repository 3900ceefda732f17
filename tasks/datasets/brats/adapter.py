"""BraTS 2018 (Menze 2015, Bakas 2017): 285 patients with glioma, four MR sequences and a segmentation each.

``{HGG,LGG}/Brats18_<site>_<id>_1/Brats18_…_{flair,t1,t1ce,t2,seg}.nii.gz``, wherever HGG and LGG lie below the root
(``MICCAI_BraTS_2018_Data_Training``); ``survival_data.csv`` beside them is not needed. Handled here:

* the five files of a subject lie on one grid (``tasks.layouts.grids``); one that does not is refused;

* a sequence is known by its whole file name: ``_t1`` is a part of ``_t1ce`` too;
* labels 0, 1 (necrosis and non-enhancing), 2 (oedema), 4 (enhancing); there is no 3, and some low-grade tumours have no
  4. The foreground is the whole tumour: > 0;
* intensities have no unit: each scan is scaled from its minimum to its maximum;
* the challenge's test set is hidden. Where the three lists of the Models Genesis authors lie in the root
  (``fold_1.csv`` …), folds 1 and 2 train and fold 3 is the test set, and the first eighth (rounded down: 23 of 190) of
  the training patients, shuffled by Python's generator with seed 4, is for validation. Otherwise a third of the
  patients, drawn with a seed, is the test set, and an eighth of the rest, rounded down, is for validation.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from harness.errors import DataError
from harness.late import pd
from harness.spec import Frozen
from harness.typed import read
from tasks.layouts.finding import Choice, Files
from tasks.layouts.grids import Grid, difference, require_one_grid
from tasks.layouts.in_parallel import OPENING_SCANS, each
from tasks.layouts.index import Finding, Index, count_differences, fingerprint_of, leaks, missing_cases
from tasks.layouts.label_maps import whole_labels
from tasks.layouts.lists import read_names
from tasks.layouts.splits import draw_patients
from tasks.layouts.volumes import Volume, canonical_grid, nifti_header, read_nifti
from tasks.options import Split

FOLDER = "MICCAI_BraTS_2018_Data_Training"  # where the challenge puts them
GRADES = ("HGG", "LGG")
MODALITIES = ("flair", "t1", "t1ce", "t2")
FOLDS = ("fold_1.csv", "fold_2.csv", "fold_3.csv")
FOLDS_SEED, VALIDATION_PART = 4, 8  # the authors' shuffle; one in eight validates
NAME = re.compile(r"^(Brats18_.+)_(\d+)$")
FILE = re.compile(r"^(Brats18_.+_\d+)_(flair|t1|t1ce|t2|seg)\.nii(?:\.gz)?$")
LABELS = {0, 1, 2, 4}
PUBLISHED = {"patients": 285, "HGG": 210, "LGG": 75}


class Options(Frozen):
    """What the data set leaves open.

    Attributes:
        modalities: The channels, in this order. The paper does not say which it used; FLAIR shows the whole tumour.
        patches_per_volume: Patches cut from each scan. Neither paper nor code says how many.
    """

    modalities: tuple[Literal["flair", "t1", "t1ce", "t2"], ...] = ("flair",)
    patches_per_volume: int = Field(default=16, ge=1)

    @field_validator("modalities")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"found {list(value)}; expected at least one, each once")
        return value


def find_files(root: Path) -> Choice[tuple[str, str]]:
    """Return (subject, sequence or ``seg``) → file, whatever lies twice included.

    Raises:
        DataError: If there is no such folder.
    """

    def key(path: str) -> tuple[str, str] | None:
        match = FILE.match(path.rpartition("/")[2])
        return (match[1], match[2]) if match and match[1] in path.split("/")[:-1] else None

    return Files.under(root, "BraTS 2018").by(key, ".nii", ".nii.gz")


def subjects(root: Path) -> dict[str, str]:
    """Return subject → its folder relative to the root: that of its name, in a folder HGG or LGG.

    Raises:
        DataError: If a subject lies in both grades, or too few are there.
    """
    choice = find_files(root)
    found: dict[str, str] = {}
    for (name, part), path in choice.paths.items():
        for place in (path, *choice.extra.get((name, part), ())):
            folder = _folder_of(name, place)
            if grade_of(found.setdefault(name, folder)) != grade_of(folder):
                raise DataError(
                    f"{name} lies in {found[name]} and in {folder} of {root}; expected one grade; remove one"
                )
    if len(found) < 3:
        raise DataError(
            f"{len(found)} subjects below {root}; expected at least three folders Brats18_<site>_<id>_1 in HGG and LGG "
            "with the training data of BraTS 2018; unpack them there"
        )
    return dict(sorted(found.items()))


def grade_of(folder: str) -> str:
    """Return the grade that a path names, HGG or LGG; empty if it names none."""
    return next((part for part in reversed(folder.split("/")) if part in GRADES), "")


def _folder_of(name: str, path: str) -> str:
    """Return the part of a file's path that ends with the innermost folder of its subject's name."""
    parts = path.split("/")[:-1]
    return "/".join(parts[: len(parts) - parts[::-1].index(name)])


def fold_lists(root: Path) -> list[Path]:
    """Return the three lists of the Models Genesis authors, or none.

    Raises:
        DataError: If some of them are there and others are not, or one is there twice with other content.
    """
    files = Files.under(root, "BraTS 2018")
    found = [path for path in map(files.maybe, FOLDS) if path is not None]
    if 0 < len(found) < len(FOLDS):
        raise DataError(f"{', '.join(found)} below {root} without the others of {', '.join(FOLDS)}; add or remove them")
    return [root / path for path in found]


def assign_splits(root: Path, names: Mapping[str, str], split: Split) -> tuple[dict[str, str], str]:
    """Return subject → split, and the rule in words.

    Args:
        root: The data root.
        names: Subject → patient.
        split: How to draw where the authors' lists are absent.

    Raises:
        DataError: If a list names an unknown subject or shares one with another.
    """
    folds = fold_lists(root)
    if folds:
        lists = [[Path(name.replace("\\", "/")).name for name in read_names(fold)] for fold in folds]
        if split.sample:  # what is not there is left out, and so is its place in the authors' draw
            lists = [[name for name in fold if name in names] for fold in lists]
        everything = [name for fold in lists for name in fold]
        for name in everything:
            if name not in names:
                raise DataError(f"the fold lists of {root} name {name}, which is not there; fetch it or correct them")
        if len(set(everything)) < len(everything):
            twice = next(name for name in everything if everything.count(name) > 1)
            raise DataError(f"the fold lists of {root} name {twice} twice; expected disjoint folds; correct them")
        rest = lists[0] + lists[1]
        random.Random(FOLDS_SEED).shuffle(rest)  # a generator of its own: the authors' draw, not ours
        held = set(rest[: len(rest) // VALIDATION_PART])
        assigned = {name: "validation" if name in held else "train" for name in rest}
        rule = (
            "the authors' fold lists: 3 is test; of 1 and 2, shuffled with seed 4, the first eighth is for validation"
        )
        return assigned | dict.fromkeys(lists[2], "test"), rule
    if split.rule != "random" or split.test_fraction is None:
        raise DataError(f"no {FOLDS[0]} … {FOLDS[2]} in {root}, which the official split needs; write split: random")
    test = draw_patients(names.values(), split.test_fraction, split.seed)
    rest = sorted(set(names.values()) - test)
    generator = np.random.Generator(np.random.PCG64(split.seed + 1))
    held = {rest[i] for i in generator.permutation(len(rest))[: max(1, len(rest) // VALIDATION_PART)]}
    parts = {name: "test" if p in test else "validation" if p in held else "train" for name, p in names.items()}
    rule = (
        f"{split.test_fraction:.0%} of the patients for test, an eighth of the rest, rounded down, for validation, "
        f"drawn with seed {split.seed}"
    )
    return parts, rule


@dataclass(frozen=True)
class Brats:
    """The adapter; see the module for what it copes with."""

    name: str = "brats"
    hounsfield: ClassVar[bool] = False  # MR has no unit
    labels: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)

    @property
    def channels(self) -> int:
        """How many sequences a patch holds."""
        return len(self.options.modalities)

    def with_options(self, options: Mapping[str, object]) -> Brats:
        """Return the adapter with ``Options`` of its own.

        Raises:
            ConfigurationError: For an unknown option or value.
        """
        return replace(self, options=read(Options, dict(options), "options.cohort.adapter."))

    def read(self, root: Path, split: Split) -> Index:
        """Index the patches of every subject.

        Raises:
            DataError: For a missing file, or lists that do not fit.
        """
        find_files(root).required()
        folders = subjects(root)
        parts, rule = assign_splits(root, {name: _patient(name) for name in folders}, split)
        rows, masks = [], {}
        for name in sorted(parts):
            for part in (*self.options.modalities, "seg"):
                _file(root, folders[name], part)
            for patch in range(self.options.patches_per_volume):
                case = f"{name}/{patch:03d}"
                rows.append([case, _patient(name), folders[name], parts[name]])
                masks[case] = (f"{folders[name]}/{name}_seg",)
        cases = pd.DataFrame(rows, columns=["case", "patient", "image", "split"])
        for finding in leaks(cases):
            raise DataError(f"{root}: {finding.message}")
        facts = {"volumes": len(parts), "modalities": list(self.options.modalities), "foreground": "whole tumour"}
        cases = cases.sort_values("case", ignore_index=True)
        return Index(cases, self.labels, masks, split_rule=rule, facts=facts, split_facts=("volumes",))

    def open(self, root: Path, image: str) -> Volume:
        """Read the sequences of a subject, ``(X, Y, Z)`` or, with several, ``(C, X, Y, Z)``.

        Raises:
            DataError: If one cannot be read, holds what is no number, or lies on another grid than the others.
        """
        paths = [_file(root, image, part) for part in self.options.modalities]
        found = [read_nifti(path) for path in paths]
        for path, volume in zip(paths, found, strict=True):
            if not np.isfinite(volume.voxels).all():
                raise DataError(f"{path} holds values that are not numbers; expected intensities; fetch it again")
            require_one_grid(path, volume.grid, paths[0], found[0].grid)
        if len(found) == 1:
            return found[0]
        return Volume(np.stack([volume.voxels for volume in found]), found[0].affine)

    def open_mask(self, root: Path, image: str, volume: Volume) -> np.ndarray:
        """Return the whole tumour, bool ``(X, Y, Z)``.

        Raises:
            DataError: If the segmentation lies on another grid or holds an unknown label.
        """
        path = _file(root, image, "seg")
        labels = read_nifti(path)
        require_one_grid(path, labels.grid, _file(root, image, self.options.modalities[0]), volume.grid)
        return whole_labels(path, labels.voxels, LABELS) > 0

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check that each subject is whole; with ``decode`` every voxel of every sequence too."""
        folders = subjects(root)
        findings = find_files(root).findings()
        looked = each(lambda name: _check_subject(root, name, folders[name], decode), list(folders), OPENING_SCANS)
        findings += [finding for _, found in looked for finding in found]
        asked = split or Split(rule="random", test_fraction=1 / 3, validation_fraction=0.125, seed=4)
        try:
            parts, _ = assign_splits(root, {name: _patient(name) for name in folders}, asked)
        except DataError as error:
            findings.append(Finding("fail", str(error)))
        else:
            left = len(folders) - len(parts)
            if left:
                findings.append(Finding("warn", f"{left} subjects are in no fold list and are left out"))
            listed = pd.DataFrame({"patient": [_patient(n) for n in parts], "split": list(parts.values())})
            findings += leaks(listed)
        if published:
            grades = [grade_of(folder) for folder in folders.values()]
            counts = {"patients": len(folders), **{grade: grades.count(grade) for grade in GRADES}}
            findings += count_differences(counts, PUBLISHED, "BraTS 2018")
            if not fold_lists(root):  # what they list has been asked for
                absent = ["not named by any list"] * (PUBLISHED["patients"] - len(folders))
                what = "subjects, of all of which the test set is drawn,"
                findings += missing_cases(what, absent, PUBLISHED["patients"], root, asked)
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of the fold lists, if they are there, and of every file's path and size."""
        texts = fold_lists(root)
        files = [root / path for path in find_files(root).paths.values()]
        return fingerprint_of(root, texts, files)


def _patient(name: str) -> str:
    match = NAME.match(name)
    return match[1] if match else name


def _file(root: Path, folder: str, part: str) -> Path:
    """Return the file of a sequence or of the segmentation, packed or not."""
    name = Path(folder).name
    files = Files.under(root / folder, "a subject of BraTS 2018")
    wanted = (f"{name}_{part}.nii", f"{name}_{part}.nii.gz")
    choice = files.by(lambda path: part if path.rpartition("/")[2] in wanted else None, ".nii", ".nii.gz")
    if part not in choice.paths:
        raise DataError(
            f"no {name}_{part}.nii.gz in {root / folder}; expected four sequences and a segmentation; fetch it"
        )
    return root / folder / choice.required()[part]


def _check_subject(root: Path, name: str, folder: str, decode: bool) -> list[Finding]:
    """Report each damaged file of a subject by itself."""
    findings: list[Finding] = []
    first: tuple[Path, Grid] | None = None
    for part in (*MODALITIES, "seg"):
        try:
            path = _file(root, folder, part)
            header = nifti_header(path)
            grid = canonical_grid(header, path)
            first = first or (path, grid)
            problem = difference(path, grid, *first)
            if header.contradiction:
                problem = f"{path} {header.contradiction}; expected one place; correct its header"
            if header.unplaced:
                text = f"{path} {header.unplaced}: how the patient lies in it is a guess"
                findings.append(Finding("warn", text))
            if problem:
                findings.append(Finding("fail", problem))
            elif decode:
                findings += _check_voxels(path, part)
        except DataError as error:
            findings.append(Finding("fail", str(error)))
    return findings


def _check_voxels(path: Path, part: str) -> list[Finding]:
    """Read a file: a failure for what is no scan or segmentation, a warning for one without a tumour.

    Raises:
        DataError: If it cannot be read, or holds an unknown label.
    """
    voxels = read_nifti(path).voxels
    if part == "seg":
        tumour = (whole_labels(path, voxels, LABELS) > 0).any()
        return [] if tumour else [Finding("warn", f"{path.name} outlines no tumour")]
    if not np.isfinite(voxels).all():
        return [Finding("fail", f"{path} holds values that are not numbers; expected intensities; fetch it again")]
    if voxels.max() <= voxels.min():
        return [Finding("fail", f"{path} has one value everywhere; expected a scan; fetch it again")]
    return []


ADAPTER = Brats()
