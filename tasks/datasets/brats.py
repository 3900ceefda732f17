"""BraTS 2018 (Menze 2015, Bakas 2017): 285 patients with glioma, four MR sequences and a segmentation each.

``{HGG,LGG}/Brats18_<site>_<id>_1/Brats18_…_{flair,t1,t1ce,t2,seg}.nii.gz``, in the root or in its folder
``MICCAI_BraTS_2018_Data_Training``; ``survival_data.csv`` beside them is not needed. Handled here:

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
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError, field_validator

from harness.errors import ConfigurationError, DataError
from harness.spec import Frozen
from tasks.datasets.index import Finding, Index, count_differences, fingerprint_of, leaks, require_folder
from tasks.datasets.lists import read_names
from tasks.datasets.splits import draw_patients
from tasks.datasets.volumes import Volume, nifti_header, read_nifti
from tasks.options import Split

FOLDER = "MICCAI_BraTS_2018_Data_Training"
GRADES = ("HGG", "LGG")
MODALITIES = ("flair", "t1", "t1ce", "t2")
FOLDS = ("fold_1.csv", "fold_2.csv", "fold_3.csv")
FOLDS_SEED, VALIDATION_PART = 4, 8  # the authors' shuffle; one in eight validates
NAME = re.compile(r"^(Brats18_.+)_(\d+)$")
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


def data_folder(root: Path) -> Path:
    """Return the folder that holds ``HGG`` and ``LGG``.

    Raises:
        DataError: If there is none.
    """
    require_folder(root, "BraTS 2018")
    for folder in (root, root / FOLDER):
        if any((folder / grade).is_dir() for grade in GRADES):
            return folder
    raise DataError(f"no HGG or LGG in {root}; expected the training data of BraTS 2018; unpack it there")


def subjects(root: Path) -> dict[str, str]:
    """Return subject → folder relative to the root.

    Raises:
        DataError: If a subject lies in both grades, or none is there.
    """
    folder = data_folder(root)
    found: dict[str, str] = {}
    for grade in GRADES:
        for path in sorted((folder / grade).glob("Brats18_*")) if (folder / grade).is_dir() else ():
            if not path.is_dir() or NAME.match(path.name) is None:
                continue
            if path.name in found:
                raise DataError(f"{path.name} lies in HGG and in LGG of {folder}; expected one of them; remove one")
            found[path.name] = path.relative_to(root).as_posix()
    if len(found) < 3:
        raise DataError(f"{len(found)} subjects in {folder}; expected at least three named Brats18_<site>_<id>_1")
    return found


def assign_splits(root: Path, names: Mapping[str, str], split: Split) -> tuple[dict[str, str], str]:
    """Return subject → split, and the rule in words.

    Args:
        root: The data root.
        names: Subject → patient.
        split: How to draw where the authors' lists are absent.

    Raises:
        DataError: If a list names an unknown subject or shares one with another.
    """
    if all((root / fold).is_file() for fold in FOLDS):
        lists = [[Path(name.replace("\\", "/")).name for name in read_names(root / fold)] for fold in FOLDS]
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

    def with_options(self, options: Mapping[str, Any]) -> Brats:
        """Return the adapter with ``Options`` of its own.

        Raises:
            ConfigurationError: For an unknown option or value.
        """
        try:
            return replace(self, options=Options.model_validate(dict(options)))
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ConfigurationError(f"options.cohort.adapter of brats: {found}; correct them") from None

    def read(self, root: Path, split: Split) -> Index:
        """Index the patches of every subject.

        Raises:
            DataError: For a missing file, or lists that do not fit.
        """
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
        """Read the sequences of a subject, ``(X, Y, Z)`` or, with several, ``(C, X, Y, Z)``."""
        found = []
        for part in self.options.modalities:
            path = _file(root, image, part)
            volume = read_nifti(path)
            if not np.isfinite(volume.voxels).all():
                raise DataError(f"{path} holds values that are not numbers; expected intensities; fetch it again")
            if found and volume.voxels.shape != found[0].voxels.shape:
                raise DataError(f"{path} has shape {volume.voxels.shape}; expected {found[0].voxels.shape}; fetch it")
            found.append(volume)
        if len(found) == 1:
            return found[0]
        return Volume(np.stack([volume.voxels for volume in found]), found[0].affine)

    def open_mask(self, root: Path, image: str, volume: Volume) -> np.ndarray:
        """Return the whole tumour, bool ``(X, Y, Z)``.

        Raises:
            DataError: If the segmentation has another shape or an unknown label.
        """
        path = _file(root, image, "seg")
        labels = read_nifti(path).voxels
        problem = _problem(path, labels, volume.voxels.shape[-3:])
        if problem:
            raise DataError(problem)
        return labels > 0

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check that each subject is whole; with ``decode`` every voxel of every sequence too."""
        folders = subjects(root)
        findings: list[Finding] = []
        for name, folder in folders.items():
            findings += _check_subject(root, name, folder, decode)
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
            grades = [Path(folder).parent.name for folder in folders.values()]
            counts = {"patients": len(folders), **{grade: grades.count(grade) for grade in GRADES}}
            findings += count_differences(counts, PUBLISHED, "BraTS 2018")
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of the fold lists, if they are there, and of every file's path and size."""
        texts = [root / fold for fold in FOLDS if (root / fold).is_file()]
        files = [path for folder in subjects(root).values() for path in (root / folder).glob("*.nii*")]
        return fingerprint_of(root, texts, files)


def _patient(name: str) -> str:
    match = NAME.match(name)
    return match[1] if match else name


def _file(root: Path, folder: str, part: str) -> Path:
    """Return the file of a sequence or of the segmentation, packed or not."""
    name = Path(folder).name
    for ending in (".nii.gz", ".nii"):
        path = root / folder / f"{name}_{part}{ending}"
        if path.is_file():
            return path
    raise DataError(f"no {name}_{part}.nii.gz in {root / folder}; expected four sequences and a segmentation; fetch it")


def _problem(path: Path, labels: np.ndarray, shape: tuple[int, ...]) -> str:
    """Say what is wrong with a segmentation, in a sentence; empty if nothing is."""
    if labels.shape != tuple(shape):
        return f"{path} has shape {labels.shape}; expected its sequences' {tuple(shape)}; fetch it again"
    strange = [v for v in np.unique(labels).tolist() if v not in LABELS]
    if strange:
        return f"{path} holds the unknown label {strange[0]:g}; expected 0, 1, 2 and 4; correct it"
    return ""


def _check_subject(root: Path, name: str, folder: str, decode: bool) -> list[Finding]:
    """Report each damaged file of a subject by itself."""
    findings: list[Finding] = []
    shape: tuple[int, ...] | None = None
    for part in (*MODALITIES, "seg"):
        try:
            path = _file(root, folder, part)
            its_shape, _, _ = nifti_header(path)
            shape = shape or its_shape
            if its_shape != shape:
                text = f"{path} has shape {its_shape}; expected {shape}, that of {name}_flair; fetch it again"
                findings.append(Finding("fail", text))
                continue
            if not decode:
                continue
            voxels = read_nifti(path).voxels
            if not np.isfinite(voxels).all():
                text = f"{path} holds values that are not numbers; expected intensities; fetch it again"
                findings.append(Finding("fail", text))
            elif part == "seg":
                problem = _problem(path, voxels, voxels.shape)
                findings += [Finding("fail", problem)] if problem else []
                if not problem and not (voxels > 0).any():
                    findings.append(Finding("warn", f"{path.name} outlines no tumour"))
            elif voxels.max() <= voxels.min():
                findings.append(Finding("fail", f"{path} has one value everywhere; expected a scan; fetch it again"))
        except DataError as error:
            findings.append(Finding("fail", str(error)))
    return findings


ADAPTER = Brats()
