"""Two folders of one's own, images and masks: each image has the mask of its name, with a suffix if the entry says so.

```
ROOT/images/001.png …        ROOT/masks/001.png …        or ROOT/masks/001_mask.png with {suffix: _mask}
```

The folders are found by their names, however deep they lie; folders below them may divide the files. An extension does
not count: ``001.jpg`` has the mask ``001.png``. Masks are 0 and 255, or 0 and 1, on the grid of their image; images may
be of different sizes. Who is the patient is said by file names (``patient_pattern``) or by a CSV (``patients``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from harness.errors import DataError
from harness.identity import file_sha256
from harness.late import pd
from harness.pixels import SPLITS
from harness.spec import Frozen
from harness.typed import read
from tasks.layouts.finding import Choice, Files, plain
from tasks.layouts.images import read_binary
from tasks.layouts.index import Finding, Index, leaks, refuse
from tasks.layouts.pictures import (
    IMAGES,
    OPTIONS,
    USUAL_SPLIT,
    PatientPattern,
    Pictures,
    layout_fingerprint,
    look_at_all,
    patient_of,
    require_parts,
    require_random,
    same_files,
)
from tasks.layouts.rows import read_rows
from tasks.layouts.splits import draw_splits
from tasks.options import Split

WHAT = "the folders of images and masks"
SHOWN = 3  # unpaired files that a message names


class Patients(Frozen):
    """A CSV that says whose the images are, one a row.

    Attributes:
        table: Name of the file.
        path: Column of the images' file names, or of paths that end in them.
        patient: Column of patients.
    """

    table: str = Field(min_length=1)
    path: str = Field(default="path", min_length=1)
    patient: str = Field(default="patient", min_length=1)


class Options(Pictures):
    """Which folders and names.

    Attributes:
        images: Name of the folder of images.
        masks: Name of the folder of masks.
        suffix: What a mask's name has behind its image's.
        patient_pattern: Regular expression whose group is the patient in an image's name.
        patients: The CSV that says it instead. With neither, each image is a patient.
        unmasked: ``refuse``: an image without a mask is an error; ``leave_out``: it is not used.
    """

    images: str = Field(default="images", min_length=1)
    masks: str = Field(default="masks", min_length=1)
    suffix: str = ""
    patient_pattern: PatientPattern | None = None
    patients: Patients | None = None
    unmasked: Literal["refuse", "leave_out"] = "refuse"

    @model_validator(mode="after")
    def _makes_sense(self) -> Options:
        if self.images.lower() == self.masks.lower() or any("/" in name for name in (self.images, self.masks)):
            raise ValueError(f"found the folders {self.images} and {self.masks}; expected two names of folders")
        if self.patient_pattern is not None and self.patients is not None:
            raise ValueError("found patient_pattern and patients; expected one of them; remove the other")
        return self


@dataclass(frozen=True)
class ImageMaskFolders:
    """The adapter; see the module for the layout."""

    name: str = "image_mask_folders"
    labels: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)

    def with_options(self, options: Mapping[str, object]) -> ImageMaskFolders:
        """Return the adapter with ``options.cohort.adapter`` of an entry.

        Raises:
            Mistakes: For an unknown option or value.
        """
        return replace(self, options=read(Options, dict(options), f"{OPTIONS}."))

    def read(self, root: Path, split: Split) -> Index:
        """Index every image with its mask.

        Raises:
            DataError: For a missing folder, half a pair or two files of one name, and for another split than random.
        """
        found = self._files(root)
        refuse([*found.findings(), *self._halves(found.paths)])
        return require_parts(self._index(root, found.paths, split), SPLITS, WHAT)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check pairs, shapes, mask values and leaks; ``decode`` compares pixels, else the bytes of files."""
        found = self._files(root)
        findings = [*found.findings(), *self._halves(found.paths)]
        if any(finding.level == "fail" for finding in findings):
            return findings
        index = self._index(root, found.paths, split or USUAL_SPLIT)
        findings += leaks(index.cases)
        findings += look_at_all(index, self._look(root, index)) if decode else same_files(root, index)
        if self.options.patient_pattern is None and self.options.patients is None:
            text = "the entry has no patient_pattern and no patients, so each image counts as a patient"
            findings.append(Finding("note", text))
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of every picture's path and size, and of the CSV of patients."""
        table = self.options.patients
        named = {} if table is None else {"patients": file_sha256(_table(root, table))}
        return layout_fingerprint(root, WHAT, named=named)

    def _files(self, root: Path) -> Choice[tuple[str, str]]:
        """Return (images or masks, name without extension and suffix) → path."""
        found = Files.under(root, WHAT).by(self._place, *IMAGES)
        for part in ("images", "masks"):
            if not any(where == part for where, _ in found.paths):
                name = getattr(self.options, part)
                behind = f" that ends in {self.options.suffix}" if part == "masks" and self.options.suffix else ""
                raise DataError(
                    f"no PNG or JPEG{behind} in a folder {name} below {root}; expected {WHAT}; put them there, or "
                    f"correct {OPTIONS}.{part}"
                )
        return found

    def _place(self, path: str) -> tuple[str, str] | None:
        *folders, name = path.split("/")
        folders = [folder.lower() for folder in folders]
        named = {self.options.images.lower(): "images", self.options.masks.lower(): "masks"}
        here = next((i for i in reversed(range(len(folders))) if folders[i] in named), None)
        if here is None:
            return None
        part, stem = named[folders[here]], PurePosixPath(name).stem
        if part == "masks":
            if not stem.endswith(self.options.suffix) or stem == self.options.suffix:
                return part, f"{stem} (without {self.options.suffix})"
            stem = stem.removesuffix(self.options.suffix)
        return part, "/".join([*path.split("/")[here + 1 : -1], stem])

    def _halves(self, paths: Mapping[tuple[str, str], str]) -> list[Finding]:
        """Return a failure for images without a mask and one for masks without an image."""
        images, masks = ({name for where, name in paths if where == part} for part in ("images", "masks"))
        findings = []
        bare, or_else = images - masks, f" (or write {OPTIONS}.unmasked: leave_out)"
        if self.options.unmasked == "leave_out" and bare:
            text = f"{len(bare)} of {len(images)} images have no mask; the entry says that they are left out"
            findings.append(Finding("note", text))
            bare = set()
        for names, part, other in ((bare, "images", "mask"), (masks - images, "masks", "image")):
            if names:
                shown = ", ".join(paths[part, name] for name in sorted(names)[:SHOWN])
                findings.append(
                    Finding(
                        "fail",
                        f"{len(names)} {part} have no {other} (first: {shown}); expected pairs of the same name"
                        f"{f' and {self.options.suffix}' if self.options.suffix else ''}; add the other half, remove "
                        f"this one, or correct {OPTIONS}.suffix{or_else if part == 'images' else ''}",
                    )
                )
        return findings

    def _index(self, root: Path, paths: Mapping[tuple[str, str], str], split: Split) -> Index:
        require_random(split, WHAT, ", and give lists of your own if you have them")
        names = sorted(name for where, name in paths if where == "images" and ("masks", name) in paths)
        unmasked = sum(where == "images" for where, _ in paths) - len(names)
        cases = pd.DataFrame({"case": names, "patient": self._patients(root, [paths["images", n] for n in names])})
        cases["image"] = [paths["images", name] for name in names]
        cases["split"], rule = draw_splits(cases["patient"].tolist(), split, WHAT)
        masks = {name: (paths["masks", name],) for name in names}
        facts = self.options.facts() | ({"without_mask_left_out": unmasked} if unmasked else {})
        return Index(cases, self.labels, masks, reader=self.options.reader(root), split_rule=rule, facts=facts)

    def _patients(self, root: Path, images: list[str]) -> list[str]:
        """Return the patient of each image.

        Raises:
            DataError: If the CSV lacks an image or a patient, or says two of one image.
        """
        options = self.options.patients
        if options is None:
            return [patient_of(image, self.options.patient_pattern) for image in images]
        table = _table(root, options)
        said = _said_patients(table, options)
        lacking = [image for image in images if _file_name(image) not in said]
        if lacking:
            raise DataError(
                f"{len(lacking)} of {len(images)} images are not in {table} (first: {lacking[0]}); expected a row for "
                f"each, with its name in column {options.path}; add them, or correct {OPTIONS}.patients"
            )
        return [said[_file_name(image)] for image in images]

    def _look(self, root: Path, index: Index) -> Callable[[str, str], np.ndarray]:
        """Return what reads an image and refuses a mask of another shape or with other values."""
        reader = self.options.reader(root)

        def look(case: str, image: str) -> np.ndarray:
            pixels = reader(image)
            for name in index.masks[case]:
                shape = read_binary(root / name).shape
                if shape != pixels.shape:
                    raise DataError(f"{name} is {shape}; expected the shape of {image}, {pixels.shape}; export it anew")
            return pixels

        return look


def _file_name(path: str) -> str:
    return plain(PurePosixPath(path).name)


def _table(root: Path, options: Patients) -> Path:
    return root / Files.under(root, WHAT).one(options.table, what=f"the table of patients ({OPTIONS}.patients.table)")


def _said_patients(table: Path, options: Patients) -> dict[str, str]:
    """Return file name → patient, as the CSV says.

    Raises:
        DataError: For an empty cell, or two patients of one name.
    """
    said: dict[str, tuple[str, str]] = {}
    for row in read_rows(table, [options.path, options.patient]):
        for column in (options.path, options.patient):
            if not row.cells[column]:
                raise DataError(f"{row.line} is empty in {column}; expected an image and its patient; fill it")
        name, patient = _file_name(row.cells[options.path]), row.cells[options.patient]
        earlier, line = said.setdefault(name, (patient, row.line))
        if earlier != patient:
            raise DataError(
                f"{name} has patient {earlier} in {line} and {patient} in {row.line}; expected one; correct the table"
            )
    return {name: patient for name, (patient, _) in said.items()}


ADAPTER = ImageMaskFolders()
