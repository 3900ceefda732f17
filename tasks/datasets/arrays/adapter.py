"""Arrays of one's own in one ``.npz``, in the form of MedMNIST (Yang et al. 2023): images and labels of three splits.

``train_images``, ``val_images``, ``test_images``: uint8 ``(N, H, W)``, or ``(N, H, W, 3)`` in colour;
``train_labels`` …: whole numbers ``(N,)`` or ``(N, 1)``, the class of each image, or 0 and 1 ``(N, C)``, one column a
label. ``train_patients`` … ``(N,)`` may say whose they are; MedMNIST's own files do not.

Two classes are one output, the second class. More are one output each, of which one is 1: they are trained and scored
one against the rest, which is no softmax.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, JsonValue, model_validator

from harness.errors import DataError
from harness.identity import digest
from harness.late import Image, pd
from harness.pixels import SPLITS
from harness.spec import Frozen
from harness.typed import near, read
from tasks.layouts.finding import Files
from tasks.layouts.images import COLOUR_TOLERANCE
from tasks.layouts.index import Finding, Index, leaks, refuse
from tasks.layouts.pictures import OPTIONS, SAME, kept_of_repeated, look_at_all, rare_labels, require_parts
from tasks.layouts.splits import draw_splits
from tasks.options import Split

PREFIX = {"train": "train", "validation": "val", "test": "test"}
WHAT = "the arrays"
Reader = Callable[[str], np.ndarray]  # name of an image → uint8 grey (height, width)


class Options(Frozen):
    """Which file, and what its numbers mean.

    Attributes:
        archive: Name of the ``.npz``.
        classes: Names of the classes 0, 1, …, or of the columns of labels; None: ``class_0``, ….
        colour: ``luma``: images in colour become their ITU-R 601 luma; ``refuse``: they are an error.
        repeated: ``refuse``: the same pixels in two splits are an error; ``leave_out``: they stay in test, or else in
            validation, and leave the other split.
    """

    archive: str = Field(default="arrays.npz", min_length=1)
    classes: tuple[str, ...] | None = None
    colour: Literal["refuse", "luma"] = "refuse"
    repeated: Literal["refuse", "leave_out"] = "refuse"

    @model_validator(mode="after")
    def _makes_sense(self) -> Options:
        names = self.classes
        reserved = ("row", "case", "patient", "image", "split")
        if names is not None and (not names or len(set(names)) < len(names) or set(names) & set(reserved)):
            raise ValueError(f"found the classes {list(names)}; expected each once, none called {', '.join(reserved)}")
        return self


@dataclass(frozen=True)
class Part:
    """The arrays of one split: images ``(N, H, W)`` or ``(N, H, W, 3)``, labels ``(N, C)``, patients or None."""

    images: np.ndarray
    labels: np.ndarray
    patients: tuple[str, ...] | None


@lru_cache(maxsize=2)
def _load(path: Path, _changed: int, _size: int) -> dict[str, Part]:
    """Read an archive; the file's time and size only say when to read it again."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except Exception as error:  # a damaged archive makes readers raise nearly anything
        raise DataError(f"{path} cannot be read as an .npz ({error}); expected {WHAT}; save it again") from None
    return {part: _part(path, arrays, prefix) for part, prefix in PREFIX.items()}


def load(path: Path) -> dict[str, Part]:
    """Return split → its arrays.

    Raises:
        DataError: If the file is damaged, or an array is missing, of another type or of another length.
    """
    status = path.stat()
    return _load(path, status.st_mtime_ns, status.st_size)


def _part(path: Path, arrays: Mapping[str, np.ndarray], prefix: str) -> Part:
    for kind in ("images", "labels"):
        if f"{prefix}_{kind}" not in arrays:
            raise DataError(
                f"{path} has no array {prefix}_{kind}; {near(f'{prefix}_{kind}', arrays)} Expected MedMNIST's names"
            )
    images, labels = arrays[f"{prefix}_images"], arrays[f"{prefix}_labels"]
    grey, colour = images.ndim == 3, images.ndim == 4 and images.shape[-1] == 3
    if images.dtype != np.uint8 or not (grey or colour) or 0 in images.shape:
        raise DataError(
            f"{prefix}_images of {path} are {images.dtype} {images.shape}; expected uint8 (N, H, W) or (N, H, W, 3)"
        )
    if labels.dtype.kind not in "iub" or labels.ndim not in (1, 2) or len(labels) != len(images):
        raise DataError(
            f"{prefix}_labels of {path} are {labels.dtype} {labels.shape}; expected whole numbers, a row for each of "
            f"the {len(images)} images"
        )
    labels = labels.reshape(len(labels), -1)
    patients = arrays.get(f"{prefix}_patients")
    if patients is None:
        return Part(images, labels, None)
    if patients.shape != (len(images),) or patients.dtype.kind not in "iuU":
        raise DataError(
            f"{prefix}_patients of {path} are {patients.dtype} {patients.shape}; expected a number or text for each of "
            f"the {len(images)} images"
        )
    return Part(images, labels, tuple(str(patient) for patient in patients))


def label_columns(parts: Mapping[str, Part], classes: tuple[str, ...] | None, path: Path) -> dict[str, np.ndarray]:
    """Return label → 0/1 of all cases, in the order of the splits.

    Raises:
        DataError: If the splits disagree, or a number is no class.
    """
    widths = {part: found.labels.shape[1] for part, found in parts.items()}
    if len(set(widths.values())) > 1:
        raise DataError(f"the labels of {path} have {widths} columns; expected as many in each split; save them again")
    labels = np.concatenate([found.labels for found in parts.values()]).astype(np.int64)
    several = labels.shape[1] > 1
    count = labels.shape[1] if several else max(2, int(labels.max()) + 1) if classes is None else len(classes)
    names = classes or tuple(f"class_{number}" for number in range(count))
    last = 1 if several else count - 1
    if labels.min() < 0 or labels.max() > last or len(names) != count:
        unfit = f"{labels.min()} to {labels.max()} in {labels.shape[1]} columns"
        expected = f"0 and 1 in {len(names)} columns" if several else f"0 to {last}"
        raise DataError(f"the labels of {path} are {unfit}; expected {expected}; correct them, or {OPTIONS}.classes")
    if several:
        return {name: labels[:, column] for column, name in enumerate(names)}
    if count == 2:
        return {names[1]: (labels[:, 0] == 1).astype(np.int64)}
    return {name: (labels[:, 0] == number).astype(np.int64) for number, name in enumerate(names)}


@dataclass(frozen=True)
class Arrays:
    """The adapter; see the module for the layout."""

    name: str = "arrays"
    labels: tuple[str, ...] = ()  # they are in the file
    options: Options = field(default_factory=Options)

    def with_options(self, options: Mapping[str, object]) -> Arrays:
        """Return the adapter with ``options.cohort.adapter`` of an entry.

        Raises:
            Mistakes: For an unknown option or value.
        """
        return replace(self, options=read(Options, dict(options), f"{OPTIONS}."))

    def read(self, root: Path, split: Split) -> Index:
        """Index every image; its case is its split and number in the file.

        Raises:
            DataError: For a missing or unfit array, and for a patient or a picture in two splits.
        """
        index, reader = self._index(root, split)
        refuse(leaks(index.cases))
        refuse(_look(index, reader))
        return require_parts(index, SPLITS, self.options.archive)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check arrays, labels and leaks; everything is in one file, so pixels are always compared."""
        index, reader = self._index(root, split or Split(rule="official", validation_fraction=0.1, seed=99))
        findings = [*leaks(index.cases), *_look(index, reader), *rare_labels(index)]
        if not index.facts.get("patients_named"):
            findings.append(Finding("note", f"{self.options.archive} names no patients, so each image counts as one"))
        if index.facts.get("left_out"):
            findings.append(
                Finding("note", f"{index.facts['left_out']} images are in a later split too, and are left out")
            )
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of name, size and checksum of every array of every ``.npz`` below the root."""
        members = {}
        for path in Files.under(root, WHAT).every(".npz"):
            try:
                with zipfile.ZipFile(root / path) as archive:
                    members[path] = [[entry.filename, entry.file_size, entry.CRC] for entry in archive.infolist()]
            except (OSError, zipfile.BadZipFile) as error:
                raise DataError(f"{root / path} is no .npz ({error}); expected {WHAT}; save it again") from None
        return digest(members)

    def _index(self, root: Path, split: Split) -> tuple[Index, Reader]:
        path = root / Files.under(root, WHAT).one(self.options.archive, what=f"{WHAT} ({OPTIONS}.archive)")
        parts = load(path)
        names = [(part, number) for part, found in parts.items() for number in range(len(found.images))]
        cases = pd.DataFrame({"case": [f"{part}/{number:06d}" for part, number in names]})
        named = all(found.patients is not None for found in parts.values())
        whose = [who for found in parts.values() for who in found.patients or ()]
        cases["patient"] = whose if named else cases["case"]
        cases["image"] = cases["case"]
        cases["split"] = [part for part, _ in names]
        columns = label_columns(parts, self.options.classes, path)
        for label, values in columns.items():
            cases[label] = values.astype(np.int8)
        rule = "as the file says"
        if split.rule == "random":
            cases["split"], rule = draw_splits(cases["patient"].tolist(), split, self.options.archive)
        facts: dict[str, JsonValue] = {"patients_named": named}
        if self.options.colour != "refuse":
            facts["colour"] = self.options.colour
        reader = self._reader(path, parts)
        if self.options.repeated == "leave_out":
            kept = kept_of_repeated(cases, reader)
            cases, facts["left_out"] = cases[kept].reset_index(drop=True), int((~kept).sum())
        return Index(cases, tuple(columns), reader=reader, split_rule=rule, facts=facts), reader

    def _reader(self, path: Path, parts: Mapping[str, Part]) -> Reader:
        def picture(case: str) -> np.ndarray:
            part, _, number = case.partition("/")
            image = parts[part].images[int(number)]
            if image.ndim == 2:
                found: np.ndarray = image
                return found
            apart = int(np.ptp(image.astype(np.int16), axis=2).max())
            if apart > COLOUR_TOLERANCE and self.options.colour == "refuse":
                raise DataError(
                    f"{case} of {path} is in colour (its channels differ by up to {apart} levels); expected 8-bit "
                    f"grey; write {OPTIONS}.colour: luma if the colour may be lost"
                )
            return np.asarray(Image.fromarray(image).convert("L"))

        return picture


def _look(index: Index, reader: Reader) -> list[Finding]:
    """Look at every image, and say how those that are repeated can be left out."""
    advice = f"; or write {OPTIONS}.repeated: leave_out"
    return [
        replace(found, message=found.message + advice) if found.level == "fail" and SAME in found.message else found
        for found in look_at_all(index, lambda _, image: reader(image))
    ]


ADAPTER = Arrays()
