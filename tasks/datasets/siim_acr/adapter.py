"""SIIM-ACR Pneumothorax (2019): radiographs as DICOM, pneumothorax as run lengths.

Stage 1: ``dicom-images-train/<study>/<series>/<image>.dcm`` with ``train-rle.csv``; stage 2: ``stage_2_train.csv``, the
images in the same folders or flat in ``stage_2_images/``; all of it is found however deep it lies. The option ``stage``
says which; without it, stage 2 where both lie. Handled here:

* the second column is ``" EncodedPixels"`` or ``"EncodedPixels"``, a negative ``" -1"`` or ``"-1"``;
* several rows an image, one a region or reader, some overlapping: the union is the mask;
* JPEG-compressed and plain files, ``MONOCHROME1`` and ``MONOCHROME2``; the picture's size is the file's;
* images without a row (37 of stage 1; of the other stage) are left out and reported: unlabelled is not negative;
* re-uploads with absolute run lengths are refused.

No split is published: 80/20 at random by image with a seed, then a tenth of the rest for validation; the lists' hashes
are recorded. The images were drawn from ChestX-ray14 under new names, one patient an image: patients cannot be grouped,
and pretraining on ChestX-ray14 has seen test images, without their masks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.errors import DataError
from harness.late import pd
from harness.spec import Frozen
from harness.typed import read
from tasks.layouts.dicom import dicom_shape, read_dicom
from tasks.layouts.finding import Choice, Files
from tasks.layouts.images import plain_name
from tasks.layouts.in_parallel import OPENING, each
from tasks.layouts.index import Finding, Index, count_differences, fingerprint_of, leaks, missing_cases, refuse
from tasks.layouts.run_lengths import EMPTY, last_pixel, looks_absolute, parse_runs
from tasks.layouts.splits import draw_patients
from tasks.layouts.tables import read_table, whole_number
from tasks.options import Split

LABEL_FILES = {2: "stage_2_train.csv", 1: "train-rle.csv"}  # stage 2 holds stage 1
COLUMNS = ("ImageId", "EncodedPixels")
FULL = 1024 * 1024  # pixels of every real image
DEFAULT_SPLIT = Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99)
PUBLISHED = {
    "stage_2_train.csv": {  # counted on the file itself
        "rows": 12_954,
        "labelled images": 12_047,
        "positive images": 2_669,
        "negative images": 9_378,
        "positive rows": 3_576,
    },
    "train-rle.csv": {"rows": 11_582, "labelled images": 10_675},  # stated by others, not counted here
}


def label_file(root: Path, stage: int | None = None) -> Path:
    """Return the label file of a stage; without one, of stage 2 if it is there, else of stage 1.

    Raises:
        DataError: If there is none.
    """
    of = "" if stage is None else f" in stage {stage}"
    files = Files.under(root, "SIIM-ACR")
    return root / files.one(*_label_names(stage), what=f"the run lengths of SIIM-ACR{of}")


def _label_names(stage: int | None) -> list[str]:
    return [name for number, name in LABEL_FILES.items() if stage in (None, number)]


def read_rows(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the label file: image → its values in the order of the file, spaces removed.

    Raises:
        DataError: If it is no table, a column is missing, or a name is no plain file name.
    """
    frame = read_table(path, COLUMNS)
    rows: dict[str, list[str]] = {}
    for name, text in zip(frame["ImageId"], frame["EncodedPixels"], strict=True):
        rows.setdefault(name, []).append(EMPTY if whole_number(text) == int(EMPTY) else text)
    for name in rows:
        plain_name(name, str(path))
    return {name: tuple(rows[name]) for name in sorted(rows)}


def image_paths(root: Path) -> Choice[str]:
    """Return image → path relative to the root, of every ``.dcm`` below it."""
    return Files.under(root, "SIIM-ACR").by(lambda path: path.rpartition("/")[2].removesuffix(".dcm"), ".dcm")


def check_rows(rows: Mapping[str, tuple[str, ...]], path: Path) -> list[Finding]:
    """Check every value for itself and the file as a whole, without opening an image."""
    findings, absolute = [], []
    for name, texts in rows.items():
        if EMPTY in texts and len(texts) > 1:
            findings.append(Finding("fail", f"{name} in {path} is -1 and more; expected -1 alone or run lengths"))
        for text in texts:
            try:
                gaps, lengths = parse_runs(text, f"{name} in {path}")
            except DataError as error:
                findings.append(Finding("fail", str(error)))
                continue
            if looks_absolute(gaps, lengths, FULL):
                absolute.append(name)
    if absolute:
        findings.append(
            Finding(
                "fail",
                f"{path} holds absolute run lengths ({len(absolute)} rows, first: {absolute[0]}); expected the "
                "organisers' relative ones",
            )
        )
    return findings


class Options(Frozen):
    """How the files are read.

    Attributes:
        stage: Whose label file is read; None: that of stage 2 where both are there.
    """

    stage: Literal[1, 2] | None = None


@dataclass(frozen=True)
class SiimAcr:
    """The adapter; see the module for what it copes with.

    Attributes:
        stage: Whose label file is read: 1 (10,675 images, the paper's "10K"), 2, or None for whichever is there.
    """

    name: str = "siim_acr"
    labels: tuple[str, ...] = ("pneumothorax",)
    stage: int | None = None

    def with_options(self, options: Mapping[str, object]) -> SiimAcr:
        """Return the adapter with ``options.cohort.adapter`` of an entry: ``{stage: 1 | 2 | null}``.

        Raises:
            Mistakes: For an unknown key or value.
        """
        return replace(self, stage=read(Options, dict(options), "options.cohort.adapter.").stage)

    def read(self, root: Path, split: Split) -> Index:
        """Index every labelled image with its run lengths.

        Raises:
            DataError: For a missing file, column or image, malformed run lengths, or a split that does not exist.
        """
        if split.rule != "random" or split.test_fraction is None:
            raise DataError(f'split "{split.rule}" of SIIM-ACR is not published; expected "random"; correct the entry')
        path = label_file(root, self.stage)
        rows = read_rows(path)
        refuse(check_rows(rows, path))
        paths = image_paths(root).required()
        refuse(_absent(rows, paths, path, root, split))
        rows = {name: texts for name, texts in rows.items() if name in paths}
        if len(rows) < 5:
            raise DataError(f"{len(rows)} images in {path}; expected at least five; fetch the file again")
        runs = {name: tuple(text for text in texts if text != EMPTY) for name, texts in rows.items()}
        cases = pd.DataFrame({
            "case": list(rows),
            "patient": list(rows),  # the files name one patient an image
            "image": [paths[name] for name in rows],
            "pneumothorax": [int(bool(runs[name])) for name in rows],
        })  # fmt: skip
        test = draw_patients(rows, split.test_fraction, split.seed)
        rest = set(rows) - test
        validation = draw_patients(rest, split.validation_fraction, split.seed + 1)
        cases["split"] = [
            "test" if name in test else "validation" if name in validation else "train" for name in cases["case"]
        ]
        rule = (
            f"{split.test_fraction:.0%} of the images for test, then {split.validation_fraction:.0%} of the rest for "
            f"validation, drawn with seed {split.seed}"
        )
        many = Counter(len(texts) for texts in runs.values() if texts)
        facts = {
            "label_file": path.name,
            "images_without_row": len(set(paths) - set(rows)),
            "positive_images_by_rows": {str(n): many[n] for n in sorted(many)},
        }
        columns = ["case", "patient", "image", "split", "pneumothorax"]
        return Index(cases[columns], self.labels, split_rule=rule, runs=runs, facts=facts)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check run lengths against their images' sizes; images without a mask are opened only if ``decode``."""
        split = split or DEFAULT_SPLIT
        path = label_file(root, self.stage)
        rows = read_rows(path)
        choice = image_paths(root)
        paths = choice.paths
        findings = [*check_rows(rows, path), *choice.findings(), *Files.under(root, "SIIM-ACR").twice(path.name)]
        unlabelled = sorted(set(paths) - set(rows))
        if unlabelled:
            findings.append(
                Finding("warn", f"{len(unlabelled)} images have no row in {path.name} and are left out "
                                f"(first: {unlabelled[0]}.dcm)")
            )  # fmt: skip
        findings += _absent(rows, paths, path, root, split)

        def look(name: str) -> list[Finding]:
            return self._check_case(root / paths[name], name, rows[name], path, decode)

        for _, found in each(look, sorted(set(rows) & set(paths)), OPENING):
            findings += found
        if not any(f.level == "fail" for f in findings):
            findings += leaks(self.read(root, split).cases)
        if published and not split.sample:
            positive = [texts for texts in rows.values() if texts != (EMPTY,)]
            counts = {
                "rows": sum(map(len, rows.values())),
                "labelled images": len(rows),
                "positive images": len(positive),
                "negative images": len(rows) - len(positive),
                "positive rows": sum(map(len, positive)),
            }
            findings += count_differences(counts, PUBLISHED[path.name], f"SIIM-ACR's {path.name}")
        return findings

    def _check_case(self, file: Path, name: str, texts: tuple[str, ...], path: Path, decode: bool) -> list[Finding]:
        positive = [text for text in texts if text != EMPTY]
        try:
            if decode:
                height, width = read_dicom(file).shape
            elif positive:
                height, width = dicom_shape(file)
            else:
                return []
        except DataError as error:
            return [Finding("fail", str(error))]
        findings = []
        for text in positive:
            try:
                end = last_pixel(*parse_runs(text, name))
            except DataError:
                continue  # check_rows has said so
            if end > height * width:
                findings.append(
                    Finding(
                        "fail",
                        f"the run lengths of {name} in {path} end at pixel {end}; expected at most {height * width} "
                        f"({height}×{width}, the size of {file.name})",
                    )
                )
        return findings

    def fingerprint(self, root: Path) -> str:
        """Digest of the label file and of every image's path and size."""
        paths = image_paths(root).paths.values()
        return fingerprint_of(root, [label_file(root, self.stage)], [root / path for path in paths])


def _absent(
    rows: Mapping[str, tuple[str, ...]], paths: Mapping[str, str], path: Path, root: Path, split: Split
) -> list[Finding]:
    """Return what labelled images that are not there amount to."""
    absent = [f"{name}.dcm" for name in rows if name not in paths]
    return missing_cases(f"images of {path.name}", absent, len(rows), root, split)


ADAPTER = SiimAcr()
