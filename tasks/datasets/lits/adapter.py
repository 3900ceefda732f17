"""LiTS (Bilic et al. 2019): 131 abdominal CTs with liver and tumours outlined.

``volume-N.nii`` and ``segmentation-N.nii`` with N from 0 to 130, wherever they lie below the root: the challenge's
``Training Batch 1`` and ``2``, or a mirror's ``volume_pt1`` … ``volume_pt8`` and ``segmentations``. Handled here:

* orientation differs between cases (left or right, head or feet first): headers are obeyed, voxels come in one;
* 28–47 carry an identity affine and a spacing of 1×1×1 that is not theirs, so nothing is ever resampled by spacing:
  slices are resized to ``in_plane`` and the third axis stays, as in the code of Models Genesis;
* headers of image and segmentation disagree in places: where the two are not one grid (``tasks.layouts.grids``) the
  image's header counts for both, voxel by voxel, and the verifier warns with the file's name;
* 0 background, 1 liver, 2 tumour: the foreground is ≥ 1 unless asked otherwise;
* the split is by index: 0–99 train, 100–114 validation, 115–129 test; 130 is left out, as the authors do.
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
from tasks.layouts.finding import Choice, Files, plain
from tasks.layouts.grids import difference
from tasks.layouts.in_parallel import OPENING_SCANS, each
from tasks.layouts.index import Finding, Index, count_differences, fingerprint_of, missing_cases, refuse
from tasks.layouts.label_maps import whole_labels
from tasks.layouts.volumes import (
    Volume,
    canonical_grid,
    nifti_header,
    nifti_missing_bytes,
    read_nifti,
    require_values,
)
from tasks.options import Split

NAME = re.compile(r"^(volume|segmentation)-(\d+)\.nii(?:\.gz)?$")
SPLIT = {"train": range(100), "validation": range(100, 115), "test": range(115, 130)}
WITHOUT_GEOMETRY = range(28, 48)  # the cases of 3D-IRCADb
LABELS = {0, 1, 2}
PUBLISHED = {"volumes": 131, "segmentations": 131}


class Options(Frozen):
    """What the data set leaves open.

    Attributes:
        patches_per_volume: Patches cut from each scan. Neither paper nor code says how many.
        foreground: ``liver``: tumours count as liver; ``healthy_liver``: they do not; ``tumour``: they alone.
    """

    patches_per_volume: int = Field(default=32, ge=1)
    foreground: Literal["liver", "healthy_liver", "tumour"] = "liver"


def find_files(root: Path) -> tuple[dict[int, str], dict[int, str], list[Finding]]:
    """Return index → path relative to the root, of volumes and of segmentations, and what is to say of doubles.

    Raises:
        DataError: If there is no volume.
    """
    volumes, segmentations = _choices(root)
    if not volumes.paths:
        raise DataError(f"no volume-N.nii below {root}; expected the training batches of LiTS; unpack them there")
    return dict(volumes.paths), dict(segmentations.paths), [*volumes.findings(), *segmentations.findings()]


def _choices(root: Path) -> tuple[Choice[int], Choice[int]]:
    files = Files.under(root, "LiTS")

    def number(kind: str, path: str) -> int | None:
        match = NAME.match(path.rpartition("/")[2])
        return int(match[2]) if match and match[1] == kind else None

    return (
        files.by(lambda path: number("volume", path), ".nii", ".nii.gz"),
        files.by(lambda path: number("segmentation", path), ".nii", ".nii.gz"),
    )


@dataclass(frozen=True)
class Lits:
    """The adapter; see the module for what it copes with."""

    name: str = "lits"
    hounsfield: ClassVar[bool] = True
    channels: ClassVar[int] = 1
    labels: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)

    def with_options(self, options: Mapping[str, object]) -> Lits:
        """Return the adapter with ``Options`` of its own.

        Raises:
            ConfigurationError: For an unknown option or value.
        """
        return replace(self, options=read(Options, dict(options), "options.cohort.adapter."))

    def read(self, root: Path, split: Split) -> Index:
        """Index the patches of every volume of the split.

        Raises:
            DataError: For a split other than the official one, or a volume without its segmentation.
        """
        if split.rule != "official":
            raise DataError(f'split "{split.rule}" of LiTS is not offered; expected "official"; correct the entry')
        volumes, segmentations, doubles = find_files(root)
        refuse(doubles)
        rows, masks = [], {}
        for part, numbers in SPLIT.items():
            for number in numbers:
                if number not in volumes:
                    continue
                if number not in segmentations:
                    raise DataError(f"{root / volumes[number]} has no segmentation-{number}.nii; fetch it")
                for patch in range(self.options.patches_per_volume):
                    case = f"volume-{number:03d}/{patch:03d}"
                    rows.append([case, f"{number:03d}", volumes[number], part])
                    masks[case] = (segmentations[number],)
        cases = pd.DataFrame(rows, columns=["case", "patient", "image", "split"])
        absent = [part for part in SPLIT if not (cases["split"] == part).any()]
        if absent:
            raise DataError(f"no volume of the {' and '.join(absent)} split below {root}; expected indices 0 to 129")
        facts = {"volumes": int(cases["patient"].nunique()), "foreground": self.options.foreground}
        rule = "by index: 0–99 train, 100–114 validation, 115–129 test; 130 is left out"
        cases = cases.sort_values("case", ignore_index=True)
        return Index(cases, self.labels, masks, split_rule=rule, facts=facts, split_facts=("volumes",))

    def open(self, root: Path, image: str) -> Volume:
        """Read the scan of a case, int16 or float32 Hounsfield units."""
        return read_nifti(root / image)

    def open_mask(self, root: Path, image: str, volume: Volume) -> np.ndarray:
        """Return the foreground of a scan, bool ``(X, Y, Z)``, on its grid; see the module for headers that differ.

        Raises:
            DataError: If the segmentation has another shape or an unknown label.
        """
        labels = read_labels(root / self._segmentation(root, image), root / image)
        if self.options.foreground == "liver":
            return labels >= 1
        found: np.ndarray = labels == (1 if self.options.foreground == "healthy_liver" else 2)
        return found

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check pairs, headers and sizes; with ``decode`` every voxel too."""
        volumes, segmentations, findings = find_files(root)
        for number in sorted(set(volumes) ^ set(segmentations)):
            have, lack = ("volume", "segmentation") if number in volumes else ("segmentation", "volume")
            findings.append(Finding("fail", f"{have}-{number}.nii has no {lack}-{number}.nii below {root}; fetch it"))
        unknown = sorted(n for n in volumes if not any(n in numbers for numbers in SPLIT.values()))
        for number in unknown:
            findings.append(Finding("warn", f"volume-{number}.nii is in no split and is left out"))
        bare = []
        both = sorted(set(volumes) & set(segmentations))
        looked = each(lambda n: self._look_at(root, volumes[n], segmentations[n], decode), both, OPENING_SCANS)
        for number, (found, placeless) in looked:
            findings += found
            if placeless:
                bare.append(number)
        if bare:
            strange = sorted(set(bare) - set(WITHOUT_GEOMETRY))
            text = f"{len(bare)} volumes have an identity affine (first: volume-{bare[0]}.nii): spacing unknown"
            findings.append(Finding("warn", text + (f"; not expected of {strange[:5]}" if strange else "")))
        if published:
            counts = {"volumes": len(volumes), "segmentations": len(segmentations)}
            findings += count_differences(counts, PUBLISHED, "LiTS")
            absent = [f"volume-{number}.nii" for number in SPLIT["test"] if number not in volumes]
            asked = split or Split(rule="official", validation_fraction=0.1, seed=99)
            findings += missing_cases("test volumes", absent, len(SPLIT["test"]), root, asked)
        return findings

    def _look_at(self, root: Path, image: str, segmentation: str, decode: bool) -> tuple[list[Finding], bool]:
        """Return what is wrong with a volume and its labels, and whether its affine is the identity."""
        try:
            return self._check_case(root, image, segmentation, decode)
        except DataError as error:
            return [Finding("fail", str(error))], False

    def _check_case(self, root: Path, image: str, segmentation: str, decode: bool) -> tuple[list[Finding], bool]:
        findings = []
        header = nifti_header(root / image)
        believed, problem = place_labels(root / segmentation, root / image)
        if believed is None:
            findings.append(Finding("fail", problem))
        elif problem:
            text = f"{problem}; {Path(image).name}'s header counts for both: they are aligned voxel by voxel"
            findings.append(Finding("warn", text))
        for word in (header.unplaced, header.contradiction):
            if word:
                findings.append(Finding("warn", f"{root / image} {word}: how the patient lies in it is a guess"))
        for path in (root / image, root / segmentation):
            missing = nifti_missing_bytes(path)
            if missing:
                findings.append(Finding("fail", f"{path} is cut: {missing} bytes are missing; fetch it again"))
        if decode and not any(finding.level == "fail" for finding in findings):
            try:
                require_values(self.open(root, image).voxels, str(root / image), hounsfield=True)
            except DataError as error:
                findings.append(Finding("fail", str(error)))
            try:
                if not (read_labels(root / segmentation, root / image) >= 1).any():
                    findings.append(Finding("warn", f"{segmentation} outlines no liver"))
            except DataError as error:
                findings.append(Finding("fail", str(error)))
        plain = bool(np.allclose(np.abs(header.grid.affine), np.eye(4)))
        return findings, plain

    def _segmentation(self, root: Path, image: str) -> str:
        match = NAME.match(plain(Path(image).name))
        found = find_files(root)[1].get(int(match[2])) if match else None
        if found is None:
            raise DataError(f"{root / image} has no segmentation; expected one of the same number; fetch it")
        return found

    def fingerprint(self, root: Path) -> str:
        """Digest of every file's path and size; there is no list."""
        volumes, segmentations, _ = find_files(root)
        return fingerprint_of(root, [], [root / path for path in (*volumes.values(), *segmentations.values())])


def place_labels(segmentation: Path, image: Path) -> tuple[np.ndarray | None, str]:
    """Say whose header places a segmentation.

    Returns:
        The affine to believe, index → LPS millimetres: its own where both headers mean one grid, its image's where
        they do not, None where the shapes differ; and how the two differ, a sentence, empty if they do not.

    Raises:
        DataError: If a header cannot be read, or the image's has no three directions.
    """
    own, wanted = nifti_header(segmentation), nifti_header(image)
    wanted_grid = canonical_grid(wanted, image)
    try:
        problem = difference(segmentation, own.grid.canonical()[0], image, wanted_grid)
    except DataError as error:
        problem = f"{segmentation}: {error}"
    if not problem:
        return own.grid.affine, ""
    if own.grid.shape != wanted.grid.shape:
        shape = f"{segmentation} has shape {own.grid.shape}; expected {wanted.grid.shape}, that of {image.name}"
        return None, f"{shape}; fetch both again"
    return wanted.grid.affine, problem.split("; expected")[0]


def read_labels(segmentation: Path, image: Path) -> np.ndarray:
    """Return a segmentation's labels on its scan's grid, canonical, int16 ``(X, Y, Z)``.

    Raises:
        DataError: If it has another shape or an unknown label, or cannot be read.
    """
    affine, problem = place_labels(segmentation, image)
    if affine is None:
        raise DataError(problem)
    return whole_labels(segmentation, read_nifti(segmentation, affine=affine).voxels, LABELS)


ADAPTER = Lits()
