"""Montgomery County (Jaeger et al. 2014): 138 radiographs, one a patient, with a mask for each lung.

``CXR_png/MCUCXR_NNNN_S.png`` (S: 0 normal, 1 tuberculosis), 4020×4892 or 4892×4020; masks of the same name in
``ManualMask/leftMask`` and ``ManualMask/rightMask``, where left is the patient's left, on the right of the image; a
reading of three lines in ``ClinicalReadings``; a ``Thumbs.db`` among the images. The foreground is left OR right.

There is no official split: 80/20 at random with a seed, then a tenth of the training patients for validation. Its
list's hash is recorded with every result, because no other paper's test set can be the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import DataError
from tasks.datasets.images import read_grey
from tasks.datasets.index import Finding, Index, count_differences, fingerprint_of, leaks, require_folder
from tasks.datasets.splits import draw_patients
from tasks.options import Split

NAME = re.compile(r"^MCUCXR_(\d{4})_([01])\.png$")
IMAGES, LEFT, RIGHT, READINGS = "CXR_png", "ManualMask/leftMask", "ManualMask/rightMask", "ClinicalReadings"
PUBLISHED = {"images": 138, "normal": 80, "tuberculosis": 58}


def data_folder(root: Path) -> Path:
    """Return the folder that holds ``CXR_png``: the root itself or ``MontgomerySet`` in it.

    Raises:
        DataError: If neither does.
    """
    require_folder(root, "Montgomery")
    for folder in (root, root / "MontgomerySet"):
        if (folder / IMAGES).is_dir():
            return folder
    raise DataError(
        f"no folder {IMAGES} in {root} or {root / 'MontgomerySet'}; expected the Montgomery set; unpack it there"
    )


@dataclass(frozen=True)
class Montgomery:
    """The adapter; see the module for the layout."""

    name: str = "montgomery"
    labels: tuple[str, ...] = ("tuberculosis",)

    def read(self, root: Path, split: Split) -> Index:
        """Index every image with both of its masks.

        Raises:
            DataError: For a missing folder or mask, or a split that the data set does not have.
        """
        if split.rule != "random" or split.test_fraction is None:
            raise DataError(
                f'split "{split.rule}" of Montgomery is not published; expected "random"; correct the entry'
            )
        folder = data_folder(root)
        inside = folder.relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        rows, masks = [], {}
        for path in sorted((folder / IMAGES).iterdir()):
            match = NAME.match(path.name)
            if match is None:
                continue
            rows.append([path.name, match[1], f"{prefix}{IMAGES}/{path.name}", int(match[2])])
            masks[path.name] = tuple(f"{prefix}{side}/{path.name}" for side in (LEFT, RIGHT))
            for mask in masks[path.name]:
                if not (root / mask).is_file():
                    raise DataError(f"{path.name} has no mask {root / mask}; expected one for each lung; fetch it")
        if len(rows) < 5:
            raise DataError(f"{len(rows)} images in {folder / IMAGES}; expected at least five named MCUCXR_NNNN_S.png")
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
        return Index(cases[["case", "patient", "image", "split", "tuberculosis"]], self.labels, masks, split_rule=rule)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check pairs, shapes, mask values and readings; masks are always opened, images if ``decode``."""
        folder = data_folder(root)
        findings: list[Finding] = []
        names = sorted(p.name for p in (folder / IMAGES).iterdir() if NAME.match(p.name))
        for path in sorted((folder / IMAGES).iterdir()):
            if path.suffix.lower() == ".png" and not NAME.match(path.name):
                findings.append(Finding("warn", f"{path.name} is not named MCUCXR_NNNN_S.png and is left out"))
        for side in (LEFT, RIGHT):
            there = {p.name for p in (folder / side).glob("*.png")} if (folder / side).is_dir() else set()
            for name in sorted(there ^ set(names)):
                half = "a mask but no image" if name in there else "an image but no mask"
                findings.append(Finding("fail", f"{name} has {half} in {side}; expected both"))
        for name in names:
            findings += self._check_case(folder, name)
            reading = folder / READINGS / name.replace(".png", ".txt")
            if not reading.is_file():
                findings.append(Finding("warn", f"no reading {reading.name}"))
        if not any(f.level == "fail" for f in findings):
            asked = split or Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99)
            findings += leaks(self.read(root, asked).cases)
        if published:
            ill = sum(name.endswith("_1.png") for name in names)
            counts = {"images": len(names), "normal": len(names) - ill, "tuberculosis": ill}
            findings += count_differences(counts, PUBLISHED, "Montgomery")
        return findings

    def _check_case(self, folder: Path, name: str) -> list[Finding]:
        findings: list[Finding] = []
        try:
            shape = read_grey(folder / IMAGES / name).shape
            masks = [read_grey(folder / side / name) for side in (LEFT, RIGHT) if (folder / side / name).is_file()]
        except DataError as error:
            return [Finding("fail", str(error))]
        for side, mask in zip((LEFT, RIGHT), masks, strict=False):
            if mask.shape != shape:
                findings.append(Finding("fail", f"{side}/{name} is {mask.shape}; expected the image's shape {shape}"))
            values = np.unique(mask)
            if not (set(values.tolist()) <= {0, 255} or set(values.tolist()) <= {0, 1}):
                findings.append(Finding("fail", f"{side}/{name} holds {values[:5].tolist()} …; expected 0 and 255"))
        if len(masks) == 2 and masks[0].shape == masks[1].shape:
            if bool(np.any((masks[0] > 0) & (masks[1] > 0))):
                findings.append(Finding("warn", f"the two lung masks of {name} overlap; their union is used"))
            centres = [np.nonzero(m)[1].mean() if m.any() else np.nan for m in masks]
            if centres[0] < centres[1]:
                findings.append(
                    Finding("warn", f"leftMask of {name} lies on the left of the image; expected the right")
                )
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of every image's and mask's path and size; there is no label file."""
        folder = data_folder(root)
        images = [p for part in (IMAGES, LEFT, RIGHT) for p in (folder / part).glob("*.png")]
        return fingerprint_of(root, [], images)


ADAPTER = Montgomery()
