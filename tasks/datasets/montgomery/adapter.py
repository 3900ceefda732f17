"""Montgomery County (Jaeger et al. 2014): 138 radiographs, one a patient, with a mask for each lung.

``CXR_png/MCUCXR_NNNN_S.png`` (S: 0 normal, 1 tuberculosis), 4020×4892 or 4892×4020; masks of the same name in
``ManualMask/leftMask`` and ``ManualMask/rightMask``, where left is the patient's left, on the right of the image; a
reading of three lines in ``ClinicalReadings``; a ``Thumbs.db`` among the images. The three folders are found by their
names, however deep they lie. The foreground is left OR right; image and masks share one grid.

There is no official split: 80/20 at random with a seed, then a tenth of the training patients for validation. Its
list's hash is recorded with every result, because no other paper's test set can be the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from harness.errors import DataError
from harness.late import pd
from harness.spec import Frozen
from harness.typed import read
from tasks.layouts.finding import Choice, Files
from tasks.layouts.images import read_binary, read_grey
from tasks.layouts.in_parallel import OPENING, each
from tasks.layouts.index import Finding, Index, count_differences, fingerprint_of, leaks, refuse
from tasks.layouts.splits import draw_patients
from tasks.options import Split

NAME = re.compile(r"^MCUCXR_(\d{4})_([01])\.png$")
IMAGES, LEFT, RIGHT, READINGS = "CXR_png", "ManualMask/leftMask", "ManualMask/rightMask", "ClinicalReadings"
FOLDERS = {part.rpartition("/")[2].lower(): part for part in (IMAGES, LEFT, RIGHT)}
OPTIONS = "options.cohort.adapter"  # where an entry says what it asks of this adapter
PUBLISHED = {"images": 138, "normal": 80, "tuberculosis": 58}


def find_files(root: Path) -> Choice[tuple[str, str]]:
    """Return (folder, file name) → path, of the PNGs in folders named ``CXR_png``, ``leftMask`` and ``rightMask``.

    Raises:
        DataError: If no folder ``CXR_png`` holds any.
    """
    found = Files.under(root, "Montgomery").by(_place, ".png")
    if not any(folder == IMAGES for folder, _ in found.paths):
        raise DataError(f"no PNG in a folder {IMAGES} below {root}; expected the Montgomery set; unpack it there")
    return found


def _place(path: str) -> tuple[str, str] | None:
    *folders, name = path.split("/")
    here = [FOLDERS[folder.lower()] for folder in folders if folder.lower() in FOLDERS]
    return (here[-1], name) if here else None


def _halves(paths: Mapping[tuple[str, str], str]) -> list[Finding]:
    """Return a failure for each image without one of its masks, and each mask without its image."""
    images = {name for folder, name in paths if folder == IMAGES and NAME.match(name)}
    findings = []
    for side in (LEFT, RIGHT):
        there = {name for folder, name in paths if folder == side}
        for name in sorted(there ^ images):
            half = "a mask but no image" if name in there else "an image but no mask"
            findings.append(Finding("fail", f"{name} has {half} in {side}; expected both; fetch them"))
    return findings


class Options(Frozen):
    """How the files are read.

    Attributes:
        white: The value of 16-bit PNGs that becomes 255, 4095 of 12 bits for example; None: 16 bits are refused.
    """

    white: int | None = Field(default=None, ge=256, le=65535)


@dataclass(frozen=True)
class Montgomery:
    """The adapter; see the module for the layout.

    Attributes:
        white: The value of 16-bit PNGs that becomes 255, 4095 of 12 bits for example; None: 16 bits are refused.
    """

    name: str = "montgomery"
    labels: tuple[str, ...] = ("tuberculosis",)
    white: int | None = None

    def with_options(self, options: Mapping[str, object]) -> Montgomery:
        """Return the adapter with ``options.cohort.adapter`` of an entry: ``{white: 256 … 65535 | null}``.

        Raises:
            Mistakes: For an unknown key or value.
        """
        return replace(self, white=read(Options, dict(options), f"{OPTIONS}.").white)

    def read(self, root: Path, split: Split) -> Index:
        """Index every image with both of its masks.

        Raises:
            DataError: For a missing folder or mask, or a split that the data set does not have.
        """
        if split.rule != "random" or split.test_fraction is None:
            raise DataError(
                f'split "{split.rule}" of Montgomery is not published; expected "random"; correct the entry'
            )
        paths = find_files(root).required()
        refuse(_halves(paths))
        names = _names(paths)
        if len(names) < 5:
            raise DataError(f"{len(names)} images below {root}; expected at least five named MCUCXR_NNNN_S.png")
        masks = {name: tuple(paths[side, name] for side in (LEFT, RIGHT)) for name in names}
        rows = [[name, name[7:11], paths[IMAGES, name], int(name[12])] for name in names]
        cases = pd.DataFrame(rows, columns=["case", "patient", "image", "tuberculosis"])
        test = draw_patients(cases["patient"], split.test_fraction, split.seed)
        rest = set(cases["patient"]) - test
        validation = draw_patients(rest, split.validation_fraction, split.seed + 1)
        cases["split"] = [
            "test" if p in test else "validation" if p in validation else "train" for p in cases["patient"]
        ]
        rule = (
            f"{split.test_fraction:.0%} of the patients for test, then {split.validation_fraction:.0%} of the rest for "
            f"validation, drawn with seed {split.seed}"
        )
        columns = ["case", "patient", "image", "split", "tuberculosis"]
        facts = {} if self.white is None else {"white": self.white}
        return Index(cases[columns], self.labels, masks, split_rule=rule, white=self.white, facts=facts)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check pairs, shapes, mask values and readings; masks are always opened, images if ``decode``."""
        choice = find_files(root)
        paths, names = choice.paths, _names(choice.paths)
        findings = [*choice.findings(), *_halves(paths)]
        for folder, name in sorted(paths):
            if folder == IMAGES and not NAME.match(name):
                findings.append(Finding("warn", f"{name} is not named MCUCXR_NNNN_S.png and is left out"))
        readings = Files.under(root, "Montgomery").by_name(".txt").paths
        for name, found in each(lambda name: self._check_case(root, name, paths), names, OPENING):
            findings += found
            reading = name.replace(".png", ".txt")
            if reading not in readings:
                findings.append(Finding("warn", f"no reading {reading}"))
        if not any(f.level == "fail" for f in findings):
            asked = split or Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99)
            findings += leaks(self.read(root, asked).cases)
        if published:
            ill = sum(name.endswith("_1.png") for name in names)
            counts = {"images": len(names), "normal": len(names) - ill, "tuberculosis": ill}
            findings += count_differences(counts, PUBLISHED, "Montgomery")
        return findings

    def _check_case(self, root: Path, name: str, paths: Mapping[tuple[str, str], str]) -> list[Finding]:
        try:
            shape = read_grey(root / paths[IMAGES, name], self.white, white_option=f"{OPTIONS}.white").shape
            masks = {side: read_binary(root / paths[side, name]) for side in (LEFT, RIGHT) if (side, name) in paths}
        except DataError as error:
            return [Finding("fail", str(error))]
        findings = [
            Finding("fail", f"{side}/{name} is {mask.shape}; expected the image's shape {shape}; fetch both again")
            for side, mask in masks.items()
            if mask.shape != shape
        ]
        return findings or _check_sides(name, masks)

    def fingerprint(self, root: Path) -> str:
        """Digest of every image's and mask's path and size; there is no label file."""
        return fingerprint_of(root, [], [root / path for path in find_files(root).paths.values()])


def _names(paths: Mapping[tuple[str, str], str]) -> list[str]:
    """Return the file names of the images, in order."""
    return sorted(name for folder, name in paths if folder == IMAGES and NAME.match(name))


def _check_sides(name: str, masks: Mapping[str, np.ndarray]) -> list[Finding]:
    """Warn of lungs that overlap, that are on the wrong side, or of which one is empty."""
    empty = [side for side, mask in masks.items() if not mask.any()]
    if empty:
        return [Finding("warn", f"{' and '.join(empty)} of {name} outlines nothing; expected a lung in each")]
    if len(masks) < 2:
        return []
    findings = []
    if bool((masks[LEFT] & masks[RIGHT]).any()):
        findings.append(Finding("warn", f"the two lung masks of {name} overlap; their union is used"))
    if np.nonzero(masks[LEFT])[1].mean() < np.nonzero(masks[RIGHT])[1].mean():
        findings.append(Finding("warn", f"leftMask of {name} lies on the left of the image; expected the right"))
    return findings


ADAPTER = Montgomery()
