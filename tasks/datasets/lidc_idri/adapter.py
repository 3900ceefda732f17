"""LIDC-IDRI (Armato et al. 2011): 1,018 chest CTs of 1,010 patients, nodules outlined by up to four readers each.

``LIDC-IDRI-0001/<study>/<series>/*.dcm``, wherever the patients' folders lie below the root, and an ``*.xml`` for each
CT series: in its folder, or in a tree of their own (``LIDC-XML-only/tcia-lidc-xml/157/158.xml``). Handled here:

* an XML file belongs to the series that it names inside, wherever it lies; one file a series counts;
* slices are sorted by their place in the patient, never by file name or instance number; rescale tags are applied;
* slices that do not lie on a line along their normal (a tilted gantry) are refused (``tasks.layouts.series``);
* series that are no CT (radiographs, with XML files of another root) are skipped;
* outlines are outer borders and may have holes (the module ``annotations``); they are placed by the slice's UID, or by
  its position where a file names none;
* what a nodule is, is a choice: readings of different readers that share a voxel are one nodule; it is a case if at
  least ``readers`` outlined it, and its mask is what at least a share ``agreement`` of them hold;
* eight patients have two scans: everything is grouped by patient;
* where several slices lie at one place, the one of the lowest instance number is kept, with a warning;
* four scans have uneven slices (counted) and are left out.

No split is published: the paper's 510/100/408 are sizes only. They are drawn by patient with a seed, counted in scans.
LUNA16, from which 3D pretraining takes its scans, is a part of this collection: ``pretraining_series.txt`` in the root,
one series UID a line, says which were pretrained on; test scans among them are counted, or kept out of the test set.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from harness.errors import DataError, Unavailable
from harness.late import pd
from harness.spec import Frozen
from harness.typed import read
from tasks.datasets.lidc_idri.annotations import OTHER_ROOT, Message, Reading, consensus, group, heading, read_message
from tasks.layouts.boxes import crop_at, resize_box, scale
from tasks.layouts.finding import Files, is_litter
from tasks.layouts.in_parallel import OPENING_SCANS, each
from tasks.layouts.index import Finding, Index, count_differences, fingerprint_of, leaks, missing_cases, refuse
from tasks.layouts.series import order_places, place_of, read_series, uneven
from tasks.layouts.space import dot
from tasks.layouts.volumes import Volume, optional, require_values
from tasks.options import Split
from tasks.patch_options import Patches

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PATIENT = re.compile(r"^LIDC-IDRI-\d{4}$")
UNEVEN = ("LIDC-IDRI-0123", "LIDC-IDRI-0267", "LIDC-IDRI-0514", "LIDC-IDRI-0672")
PRETRAINING_LIST = "pretraining_series.txt"
DEFAULT_SPLIT = Split(rule="random", test_fraction=408 / 1018, validation_fraction=100 / 610, seed=99)
PUBLISHED = {"scans": 1_018, "patients": 1_010, "scans without nodule": 135}  # counted in a public database of it
TAGS = ["Modality", "PatientID", "SeriesInstanceUID", "SOPInstanceUID", "ImagePositionPatient"]
TAGS += ["ImageOrientationPatient", "InstanceNumber", "PixelSpacing", "Rows", "Columns"]


class Options(Frozen):
    """What the data set leaves open.

    Attributes:
        readers: A nodule is a case if at least so many readers outlined it.
        agreement: Share of its readings that must hold a voxel of its mask.
        test_outside_pretraining: Draw test scans among the patients without a scan in ``pretraining_series.txt``, which
            must then be there. LUNA16's subsets 0-6 leave fewer scans than the paper's 408: ``test_fraction`` of the
            split must be lowered too.
    """

    readers: int = Field(default=3, ge=1, le=4)
    agreement: float = Field(default=0.5, gt=0.0, le=1.0)
    test_outside_pretraining: bool = False


@dataclass(frozen=True)
class Series:
    """One CT series on disk.

    Attributes:
        patient: As its folder says.
        uid: Series instance UID.
        folder: Relative to the root.
        files: Its slices, relative to the root, in no order that means anything.
        messages: XML files that name it, relative to the root; those in its own folder come first.
    """

    patient: str
    uid: str
    folder: str
    files: tuple[str, ...]
    messages: tuple[str, ...]


def read_header(path: Path) -> Dataset:
    """Return the tags of a slice that say what and where it is, without its pixels.

    Raises:
        DataError: If it is no DICOM file or lacks its series.
    """
    pydicom = optional("pydicom", "pydicom", "DICOM files")
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
        str(header.Modality), str(header.SeriesInstanceUID)
        return header
    except Exception as error:  # a damaged file makes the parser raise nearly anything
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path} cannot be read as DICOM ({reason}); expected a whole file; fetch it again") from None


def find_series(root: Path) -> tuple[list[Series], list[str], list[Finding]]:
    """Return the CT series, the folders of other series, and what is wrong or left out, a sentence each.

    Raises:
        DataError: If there is no folder of a patient.
    """
    files = Files.under(root, "LIDC-IDRI")
    if not any(patient_of(folder) for folder in files.folders):
        raise DataError(f"no folder LIDC-IDRI-NNNN below {root}; expected one a patient; unpack them")
    folders: dict[str, list[str]] = {}
    for path in files.every(".dcm"):
        if patient_of(path):
            folders.setdefault(path.rpartition("/")[0], []).append(path)
    found: list[Series] = []
    other, findings = [], []
    for folder in sorted(folders):
        try:
            kind, uid = _kind_of(root, folder, folders[folder])
        except DataError as error:
            findings.append(Finding("fail", str(error)))
            continue
        if kind != "CT":
            other.append(folder)
            continue
        found.append(Series(patient_of(folder), uid, folder, tuple(sorted(folders[folder])), ()))
    places: dict[str, str] = {}
    for one in found:
        if places.setdefault(one.uid, one.folder) != one.folder:
            text = f"series {one.uid} lies in {places[one.uid]} and in {one.folder} below {root}"
            findings.append(Finding("fail", f"{text}; expected one place; remove the other"))
    messages = [path for path in files.every(".xml") if patient_of(path)], _messages_elsewhere(root)
    found = [replace(one, messages=_messages_of(root, one, *messages)) for one in found]
    return found, other, findings + _check_messages(root, found, [*messages[0], *messages[1]])


def patient_of(path: str) -> str:
    """Return the patient whose folder a path is, or lies in; empty if it is nobody's."""
    return next((part for part in path.split("/") if PATIENT.match(part)), "")


def _kind_of(root: Path, folder: str, paths: list[str]) -> tuple[str, str]:
    """Return modality and UID of a folder's series.

    Raises:
        DataError: If its first slice cannot be read, or slices of a CT lie among others.
    """
    header = read_header(root / min(paths))
    kind = str(header.Modality)
    if kind != "CT":  # a few files each: a CT's slices are read when it is verified
        inside = {str(read_header(root / path).Modality) for path in paths}
        if "CT" in inside:
            raise DataError(
                f"{root / folder} holds slices of {' and '.join(sorted(inside))}; expected one series; part them"
            )
    return kind, str(header.SeriesInstanceUID)


def _messages_elsewhere(root: Path) -> list[str]:
    """Return the XML files below a root that lie in no patient's folder, without a look into these."""
    found = []
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(name for name in inside if not PATIENT.match(name) and not is_litter(name))
        for name in sorted(names):
            if name.lower().endswith(".xml") and not is_litter(name):
                found.append((Path(folder) / name).relative_to(root).as_posix())
    return found


def _messages_of(root: Path, series: Series, inside: list[str], elsewhere: list[str]) -> tuple[str, ...]:
    """Return the XML files about a series: those that name it, and those beside its slices that name none.

    Args:
        root: The data root.
        series: The series.
        inside: XML files in patients' folders; those of other patients are not asked.
        elsewhere: The others.
    """
    found = []
    for path in (*(path for path in inside if patient_of(path) == series.patient), *elsewhere):
        beside = path.rpartition("/")[0] == series.folder
        try:
            kind, uid = heading(root / path)
        except DataError:
            if beside:
                found.append(path)  # whoever reads it says what is wrong
            continue
        if kind != OTHER_ROOT and (uid == series.uid or (beside and not uid)):
            found.append(path)
    return tuple(sorted(found, key=lambda path: (path.rpartition("/")[0] != series.folder, path)))


def _check_messages(root: Path, series: list[Series], paths: list[str]) -> list[Finding]:
    """Report XML files that belong to no series, or lie where they are not looked for."""
    by_uid = {one.uid: one for one in series}
    used = {path for one in series for path in one.messages}
    folders = {one.folder: one for one in series}
    findings, strangers = [], []
    for path in paths:
        if path in used:
            continue
        try:
            kind, uid = heading(root / path)
        except DataError as error:
            findings.append(Finding("fail", str(error)))
            continue
        beside = folders.get(path.rpartition("/")[0])
        if kind == OTHER_ROOT:
            continue
        if uid in by_uid:
            text = f"{root / path} is about a series of {by_uid[uid].patient}, in another patient's folder; move it"
            findings.append(Finding("fail", text))
        elif beside:
            text = f"{root / path} is about series {uid}, its folder holds {beside.uid}; move it"
            findings.append(Finding("fail", text))
        else:
            strangers.append(path)
    if strangers:
        text = f"{len(strangers)} XML files are about series that are not there (first: {strangers[0]})"
        findings.append(Finding("warn", text))
    return findings


def read_readings(root: Path, series: Series) -> list[Message]:
    """Return what readers say of a series: one message, or none where there is no file.

    Raises:
        DataError: For a damaged file, or two that say different things.
    """
    messages = [(path, read_message(root / path)) for path in series.messages]
    known = [(path, message) for path, message in messages if message is not None]
    for path, message in known[1:]:
        if message.said != known[0][1].said:
            raise DataError(
                f"{root / known[0][0]} and {root / path} say different things of series {series.uid}; "
                "expected one XML file a series; remove one"
            )
    return [message for _, message in known[:1]]


def draw_split(scans: pd.DataFrame, split: Split, kept_out: set[str]) -> dict[str, str]:
    """Return patient → split, drawn by patient, the sizes counted in scans.

    Args:
        scans: A row each: ``patient``.
        split: Its fractions and seed. The test set takes ``test_fraction`` of all scans, validation its share of the
            rest; a patient whose scans would overshoot is passed over.
        kept_out: Patients who must not be test patients.

    Raises:
        DataError: If too few patients may be test patients.
    """
    if split.rule != "random" or split.test_fraction is None:
        raise DataError(f'split "{split.rule}" of LIDC-IDRI is not published; expected "random"; correct the entry')
    sizes = scans["patient"].value_counts()
    ordered = sorted(sizes.index)
    generator = np.random.Generator(np.random.PCG64(split.seed))
    drawn = [ordered[i] for i in generator.permutation(len(ordered))]
    test_scans = max(1, round(split.test_fraction * len(scans)))
    rest = len(scans) - test_scans
    assigned = dict.fromkeys(ordered, "train")
    for part, wanted in (("test", test_scans), ("validation", max(1, round(split.validation_fraction * rest)))):
        for patient in drawn:
            free = assigned[patient] == "train" and not (part == "test" and patient in kept_out)
            if free and sizes[patient] <= wanted:
                assigned[patient] = part
                wanted -= int(sizes[patient])
        if wanted and part == "test" and kept_out:
            there = test_scans - wanted
            fits = math.floor(1000 * there / len(scans)) / 1000
            raise DataError(
                f"{there} of {len(scans)} scans can be test scans when patients of {PRETRAINING_LIST} are kept out; "
                f"expected {test_scans}; write options: {{cohort: {{split: {{test_fraction: {fits:g}}}}}}} or less"
            )
    return assigned


def mask_of(
    readings: list[Reading], headers: list[Dataset], volume: Volume, agreement: float, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels of a nodule's mask in the canonical volume, and its centre.

    Args:
        readings: One group of ``tasks.datasets.lidc_idri.annotations.group``.
        headers: Of the slices.
        volume: The scan.
        agreement: See ``Options``.
        where: Names the nodule in an error.

    Returns:
        Indices, int ``(M, 3)``, and their mean, float ``(3,)``.

    Raises:
        DataError: If an outline is on no slice or beyond it, or no voxel is agreed upon.
    """
    names = {outline.z: outline.image for reading in readings for outline in reading.outlines}
    indices = []
    for z, pixels in consensus(readings, agreement).items():
        header = slice_of(headers, names.get(z, ""), z)
        if header is None:
            raise DataError(
                f"{where} has an outline at z = {z:g} mm, where no slice is; expected one; fetch the series"
            )
        indices.append(np.rint(volume.to_voxel(to_world(pixels, header))).astype(np.int64))
    if not indices:
        raise DataError(f"{where} has no voxel that its readers agree upon; lower readers or agreement")
    voxels = np.concatenate(indices)
    if (voxels < 0).any() or (voxels >= volume.voxels.shape).any():
        raise DataError(f"{where} reaches beyond its slices; expected outlines inside; fetch its XML file again")
    return voxels, voxels.mean(axis=0)


def slice_of(headers: list[Dataset], uid: str, z: float) -> Dataset | None:
    """Return the slice of that UID, else the one at that height, else None."""
    for header in headers:
        if uid and str(header.SOPInstanceUID) == uid:
            return header
    nearest = min(headers, key=lambda header: abs(float(header.ImagePositionPatient[2]) - z))
    heights = sorted(float(header.ImagePositionPatient[2]) for header in headers)
    gap = float(np.median(np.diff(heights))) if len(heights) > 1 else 1.0
    return nearest if abs(float(nearest.ImagePositionPatient[2]) - z) < gap / 2 else None


def to_world(pixels: np.ndarray, header: Dataset) -> np.ndarray:
    """Map (column, row) of a slice to LPS millimetres (DICOM PS3.3 C.7.6.2.1.1)."""
    place = np.asarray(header.ImagePositionPatient, float)
    turn = np.asarray(header.ImageOrientationPatient, float)
    between_rows, between_columns = (float(part) for part in header.PixelSpacing)
    found: np.ndarray = place + pixels[:, :1] * between_columns * turn[:3] + pixels[:, 1:] * between_rows * turn[3:]
    return found


@dataclass(frozen=True)
class LidcIdri:
    """The adapter; see the module for what it copes with."""

    name: str = "lidc_idri"
    hounsfield: ClassVar[bool] = True
    channels: ClassVar[int] = 1
    labels: tuple[str, ...] = ("malignant",)
    options: Options = field(default_factory=Options)

    def with_options(self, options: Mapping[str, object]) -> LidcIdri:
        """Return the adapter with ``Options`` of its own.

        Raises:
            ConfigurationError: For an unknown option or value.
        """
        return replace(self, options=read(Options, dict(options), "options.cohort.adapter."))

    def read(self, root: Path, split: Split) -> Index:
        """Index every nodule that enough readers outlined; the label says that they rate it above 3 of 5 on average.

        Raises:
            DataError: For a damaged header or XML file, or no nodule at all.
        """
        series, _, findings = find_series(root)
        refuse(findings)
        scans = pd.DataFrame([[s.patient, s.uid] for s in series], columns=["patient", "uid"])
        pretrained = read_pretraining(root)
        if self.options.test_outside_pretraining and not pretrained:
            found = "an empty" if (root / PRETRAINING_LIST).is_file() else "no"
            raise DataError(
                f"{found} {PRETRAINING_LIST} in {root}; expected the series that pretraining saw, one UID a line, "
                "for test_outside_pretraining; write it or leave the option out"
            )
        seen = set(scans.loc[scans["uid"].isin(pretrained), "patient"])
        assigned = draw_split(scans, split, seen if self.options.test_outside_pretraining else set())
        rows = []
        for one in series:
            if one.patient in UNEVEN:
                continue
            for number, readings in enumerate(self.nodules(root, one)):
                rated = [reading.malignancy for reading in readings if reading.malignancy is not None]
                malignant = int(bool(rated) and float(np.mean(rated)) > 3)
                case = f"{one.uid}/{number:03d}"
                rows.append([case, one.patient, one.folder, assigned[one.patient], malignant])
        if not any(one.messages for one in series):
            raise DataError(f"no XML file below {root} is about any of its {len(series)} CT series; fetch them")
        if not rows:
            raise DataError(f"no nodule of {self.options.readers} readers in {root}; expected some; lower readers")
        cases = pd.DataFrame(rows, columns=["case", "patient", "image", "split", "malignant"])
        rule = (
            f"by patient, {split.test_fraction:.1%} of the scans for test, {split.validation_fraction:.1%} of the rest "
            f"for validation, drawn with seed {split.seed}"
        )
        if self.options.test_outside_pretraining:
            rule += f"; no test patient is in {PRETRAINING_LIST}"
        messages = {one.folder: one.messages for one in series}
        masks = dict(zip(cases["case"], (messages[folder] for folder in cases["image"]), strict=True))
        empty = scans.loc[~scans["uid"].isin(cases["case"].str.split("/").str[0])]
        return Index(
            cases.sort_values("case", ignore_index=True),
            self.labels,
            masks,
            split_rule=rule,
            facts=self._facts(scans, assigned, pretrained),
            split_facts=("scans_per_split", "test_scans", "test_scans_pretrained_on"),
            without_cases=frozenset({*empty["uid"], *empty["patient"]}),
        )

    def _facts(
        self, scans: pd.DataFrame, assigned: Mapping[str, str], pretrained: Collection[str]
    ) -> dict[str, object]:
        """Return what the manifest says of the split.

        Args:
            scans: All scans, those left out as uneven too.
            assigned: Patient → part.
            pretrained: The series that pretraining saw; empty if nobody says.
        """
        parts = scans["patient"].map(assigned)
        test = scans[parts == "test"]
        return {
            "readers": self.options.readers,
            "agreement": self.options.agreement,
            "scans_per_split": parts.value_counts().to_dict(),
            "test_scans": len(test),
            "test_scans_pretrained_on": int(test["uid"].isin(pretrained).sum()) if pretrained else None,
            "scans_left_out_as_uneven": int(scans["patient"].isin(UNEVEN).sum()),
        }

    def nodules(self, root: Path, series: Series) -> list[list[Reading]]:
        """Return the groups of readings that are cases, in a fixed order."""
        groups = [found for message in read_readings(root, series) for found in group(message.readings)]
        return [
            readings
            for readings in groups
            if len({reading.reader for reading in readings}) >= self.options.readers
            and consensus(readings, self.options.agreement)
        ]

    def open(self, root: Path, image: str) -> Volume:
        """Read the scan of a series.

        Raises:
            DataError: See ``open_nodules``.
        """
        return self.open_nodules(root, image)[0]

    def open_nodules(self, root: Path, image: str) -> tuple[Volume, list[tuple[str, np.ndarray, np.ndarray]]]:
        """Read a series: the scan, and for each of its nodules the case, the mask's voxels ``(M, 3)`` and its centre.

        Raises:
            DataError: For what is damaged, uneven, or does not fit together.
        """
        folder, patient = root / image, patient_of(image)
        names = sorted(path.name for path in folder.iterdir() if not is_litter(path.name))
        inside = tuple(f"{image}/{name}" for name in names if name.lower().endswith(".dcm"))
        volume, headers = read_series(root / path for path in inside)
        top = image[: image.index(patient) + len(patient)]
        own = [f"{top}/{path}" for path in Files.under(root / top, "a patient of LIDC-IDRI").every(".xml")]
        series = Series(patient, str(headers[0].SeriesInstanceUID), image, inside, ())
        series = replace(series, messages=_messages_of(root, series, own, _messages_elsewhere(root)))
        found = []
        for number, readings in enumerate(self.nodules(root, series)):
            where = f'nodule "{readings[0].name}" of {folder}'
            found.append(
                (f"{series.uid}/{number:03d}", *mask_of(readings, headers, volume, self.options.agreement, where))
            )
        return volume, found

    def cut(self, root: Path, cases: pd.DataFrame, patches: Patches) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the patch around each nodule of one scan, float32 in [0, 1], and its mask, bool.

        The mask holds whatever of the scan's nodules lies in the patch. ``spacing_mm``, ``crop``, ``window`` apply.

        Raises:
            DataError: See ``open_nodules``; or if voxels are no number or nowhere as low as air.
        """
        image = str(cases["image"].iloc[0])
        volume, nodules = self.open_nodules(root, image)
        require_values(volume.voxels, str(root / image), hounsfield=self.hounsfield)
        voxels, mask = scale(volume.voxels, patches.window), np.zeros(volume.voxels.shape, np.float32)
        centres = {}
        for case, indices, centre in nodules:
            mask[tuple(indices.T)] = 1.0
            centres[case] = centre
        size = np.array(patches.crop or patches.shape)
        if patches.spacing_mm is not None:
            size = np.maximum(1, np.rint(size * patches.spacing_mm / volume.spacing)).astype(int)
        for case in cases["case"]:
            yield (
                resize_box(crop_at(voxels, centres[case], size), patches.shape),
                resize_box(crop_at(mask, centres[case], size), patches.shape) >= 0.5,
            )

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check series, their slices' places, and XML files; pixels are read if ``decode``."""
        series, other, findings = find_series(root)
        if other:
            findings.append(Finding("warn", f"{len(other)} series are no CT and are left out (first: {other[0]})"))
        empty, read_of = 0, list[tuple[Series, list[Reading]]]()
        for one in series:
            try:
                messages = read_readings(root, one)
            except DataError as error:
                findings.append(Finding("fail", str(error)))
                messages = []
            if len(one.messages) > 1:
                text = f"{len(one.messages)} XML files are about series {one.uid} ({', '.join(one.messages)})"
                findings.append(Finding("warn", f"{text}; expected one; the first counts, once"))
            if not one.messages:
                findings.append(Finding("warn", f"{one.folder} has no XML file; it counts as a scan without nodules"))
            readings = [reading for message in messages for reading in message.readings]
            empty += all(reading.is_point for reading in readings)
            read_of.append((one, readings))
        for _, found in each(
            lambda at: self._check_slices(root, *read_of[at], decode), range(len(series)), OPENING_SCANS
        ):
            findings += found
        if not any(finding.level == "fail" for finding in findings):
            findings += leaks(self.read(root, split or DEFAULT_SPLIT).cases)
        if published:
            patients = len({one.patient for one in series})
            counts = {"scans": len(series), "patients": patients, "scans without nodule": empty}
            absent = ["not named by any list"] * (PUBLISHED["scans"] - len(series))
            what = "scans, of all of which the test set is drawn,"
            findings += missing_cases(what, absent, PUBLISHED["scans"], root, split or DEFAULT_SPLIT)
            findings += count_differences(counts, PUBLISHED, "LIDC-IDRI")
        return findings

    def _check_slices(self, root: Path, series: Series, readings: list[Reading], decode: bool) -> list[Finding]:
        headers, places, findings = [], [], []
        for path in series.files:
            try:
                headers.append(read_header(root / path))
                places.append(place_of(headers[-1], str(root / path)))
            except DataError as error:
                findings.append(Finding("fail", str(error)))
        wrong = sorted({place.series for place in places} - {series.uid})
        if wrong:
            findings.append(
                Finding("fail", f"{series.folder} holds slices of another series, {wrong[0]}; expected one")
            )
        if findings:
            return findings
        try:
            kept, left_out = order_places(places, series.folder)
        except DataError as error:
            return [self._unless_uneven(series, str(error))]
        if left_out:
            text = f"{series.folder} holds {len(left_out)} slices at a place where another lies"
            first = Path(places[left_out[0]].name).name
            findings.append(Finding("warn", f"{text} (first: {first}); the one of the lowest instance number is kept"))
        headers, places = [headers[i] for i in kept], [places[i] for i in kept]
        heights = [float(dot(place.position, places[0].normal)) for place in places]
        problem = uneven(heights, [place.name for place in places])
        if problem:
            return [*findings, self._unless_uneven(series, problem)]
        for reading in readings:
            for outline in reading.outlines:
                header = slice_of(headers, outline.image, outline.z)
                what = f'nodule "{reading.name}" of reader {reading.reader + 1} in {series.folder}'
                if header is None:
                    findings.append(
                        Finding("fail", f"{what} has an outline at z = {outline.z:g} mm, where no slice is")
                    )
                elif (outline.points < 0).any() or (outline.points >= (header.Columns, header.Rows)).any():
                    size = f"{header.Columns}×{header.Rows}"
                    findings.append(
                        Finding("fail", f"{what} has an outline beyond its {size} slice; expected it inside")
                    )
        if decode:
            try:
                voxels = read_series(root / path for path in series.files)[0].voxels
                require_values(voxels, series.folder, hounsfield=True)
            except (DataError, Unavailable) as error:
                findings.append(Finding("fail", str(error)))
        return findings

    def _unless_uneven(self, series: Series, problem: str) -> Finding:
        """Return a failure, or a warning about a scan that is left out whatever is wrong with it."""
        if series.patient in UNEVEN:
            return Finding("warn", f"{problem}; the scan is left out")
        return Finding("fail", problem)

    def fingerprint(self, root: Path) -> str:
        """Digest of every XML file, of the list of pretraining scans, and of every slice's path and size."""
        files = Files.under(root, "LIDC-IDRI")
        texts = [root / path for path in (*files.every(".xml"), *files.named(PRETRAINING_LIST))]
        return fingerprint_of(root, texts, [root / path for path in files.every(".dcm")])


def read_pretraining(root: Path) -> set[str]:
    """Return the series UIDs that pretraining saw, where the list is there."""
    path = Files.under(root, "LIDC-IDRI").maybe(PRETRAINING_LIST)
    return {line.strip() for line in (root / path).read_text().splitlines() if line.strip()} if path else set()


ADAPTER = LidcIdri()
