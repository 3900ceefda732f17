"""A folder of one's own with pictures and nothing else, to pretrain on: ``transfer: none`` in its entry.

Every PNG and JPEG below the root counts. With ``labels: folders`` the folder in which a picture lies is its class, for
a supervised pretraining:

```
ROOT/hand/001.jpg …   ROOT/head/001.jpg …
```

A share of the patients validates the pretraining; who is in it depends on the
patient's name and the seed alone, so that pictures that are added move no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import JsonValue

from harness.errors import DataError
from harness.late import pd
from harness.typed import read
from tasks.layouts.finding import Files
from tasks.layouts.index import Finding, Index, leaks
from tasks.layouts.lists import describe_list, place_of, read_names
from tasks.layouts.pictures import (
    IMAGES,
    OPTIONS,
    RESERVED,
    SAME,
    USUAL_SPLIT,
    PatientPattern,
    Pictures,
    kept_of_repeated,
    layout_fingerprint,
    look_at_all,
    patient_of,
    require_parts,
    require_random,
    same_files,
)
from tasks.layouts.splits import held_by_name
from tasks.options import Split

WHAT = "the folder of images"
PARTS = ("train", "validation")


class Options(Pictures):
    """How the files are read.

    Attributes:
        patient_pattern: Regular expression whose group is the patient in an image's name; None: each is a patient.
        labels: ``folders``: each folder of the root is a class, and has a column of 0 and 1; None: there are no labels.
        leave_out: List of pictures that are not used (``tasks.layouts.lists.place_of``): names or paths, one a line.
        repeated: ``refuse``: the same pixels in train and validation are an error; ``leave_out``: they stay in
            validation and leave train.
    """

    patient_pattern: PatientPattern | None = None
    labels: Literal["folders"] | None = None
    leave_out: str | None = None
    repeated: Literal["refuse", "leave_out"] = "refuse"


@dataclass(frozen=True)
class ImageFolder:
    """The adapter; see the module for the layout."""

    name: str = "image_folder"
    labels: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)

    def with_options(self, options: Mapping[str, object]) -> ImageFolder:
        """Return the adapter with ``options.cohort.adapter`` of an entry.

        Raises:
            Mistakes: For an unknown option or value.
        """
        return replace(self, options=read(Options, dict(options), f"{OPTIONS}."))

    def read(self, root: Path, split: Split) -> Index:
        """Index every picture; none is for test.

        Raises:
            DataError: If there is none, or none in train or validation.
        """
        return require_parts(self._index(root, split), PARTS, f"{root}")

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check that every picture can be read, and that none is in two splits."""
        index = self._index(root, split or USUAL_SPLIT)
        reader = self.options.reader(root)
        findings = look_at_all(index, lambda _, image: reader(image)) if decode else same_files(root, index)
        return [*self._notes(index), *leaks(index.cases), *self._advised(findings)]

    def fingerprint(self, root: Path) -> str:
        """Digest of every picture's path and size, and of the list of those that are left out."""
        listed = self.options.leave_out
        named = {} if listed is None else {"leave_out": describe_list(root, listed)["sha256"]}
        return layout_fingerprint(root, WHAT, named=named)

    def _index(self, root: Path, split: Split) -> Index:
        require_random(split, WHAT)
        paths = sorted(Files.under(root, WHAT).every(*IMAGES))
        if not paths:
            raise DataError(f"no PNG or JPEG below {root}; expected {WHAT} to pretrain on; put it there")
        found = len(paths)
        paths = self._without_listed(root, paths)
        facts: dict[str, JsonValue] = self.options.facts()
        if self.options.leave_out is not None:
            facts["left_out"] = {**describe_list(root, self.options.leave_out), "images": found - len(paths)}
        patients = [patient_of(path, self.options.patient_pattern) for path in paths]
        held = [held_by_name(patient, split.validation_fraction, split.seed) for patient in patients]
        cases = pd.DataFrame({"case": paths, "patient": patients, "image": paths})
        cases["split"] = ["validation" if out else "train" for out in held]
        labels = self._label(root, cases)
        if self.options.repeated == "leave_out":
            kept = kept_of_repeated(cases, self.options.reader(root))
            cases, facts["repeated_left_out"] = cases[kept].reset_index(drop=True), int((~kept).sum())
        share = f"{split.validation_fraction:.0%}"
        rule = f"{share} of the patients for validation, by a hash of their names and seed {split.seed}"
        return Index(
            cases,
            labels,
            reader=self.options.reader(root),
            split_rule=rule,
            facts=facts,
            parts=PARTS,
        )

    def _notes(self, index: Index) -> list[Finding]:
        """Say what was left out because the entry asks for it."""
        notes = []
        if "left_out" in index.facts:
            listed = index.facts["left_out"]
            notes.append(Finding("note", f"{listed['images']} images are left out, those of {listed['file']}"))
        if index.facts.get("repeated_left_out"):
            count = index.facts["repeated_left_out"]
            notes.append(Finding("note", f"{count} images are in validation too, pixel by pixel, and leave train"))
        return notes

    @staticmethod
    def _advised(findings: list[Finding]) -> list[Finding]:
        """Say how those that are repeated can be left out."""
        advice = f"; or write {OPTIONS}.repeated: leave_out"
        return [
            replace(found, message=found.message + advice) if found.level == "fail" and SAME in found.message else found
            for found in findings
        ]

    def _without_listed(self, root: Path, paths: list[str]) -> list[str]:
        """Return the pictures that the list of ``leave_out`` does not name.

        Raises:
            DataError: If it names none or two of them.
        """
        if self.options.leave_out is None:
            return paths
        file = place_of(root, self.options.leave_out)
        describe_list(root, self.options.leave_out)
        places: dict[str, list[str]] = {}
        for path in paths:
            places.setdefault(path, []).append(path)
            if "/" in path:
                places.setdefault(PurePosixPath(path).name, []).append(path)
        out = set()
        for name in read_names(file):
            meant = places.get(name, [])
            if len(meant) != 1:
                what = f"which may be {meant[0]} or {meant[1]}" if meant else f"which is not below {root}"
                raise DataError(f"{file} names {name}, {what}; expected a picture of {WHAT}; correct the list")
            out.add(meant[0])
        return [path for path in paths if path not in out]

    def _label(self, root: Path, cases: pd.DataFrame) -> tuple[str, ...]:
        """Add a column of 0 and 1 for each folder of the root, if the entry asks for it; return their names.

        Raises:
            DataError: For a picture in no folder, fewer than two folders, or a folder with the name of a column.
        """
        if self.options.labels is None:
            return self.labels
        bare = next((path for path in cases["case"] if "/" not in path), None)
        if bare is not None:
            raise DataError(
                f"{bare} lies in {root} itself; expected each picture in the folder of its class ({OPTIONS}.labels: "
                "folders); move it"
            )
        folder = cases["case"].str.partition("/")[0]
        names = tuple(sorted(set(folder)))
        unfit = [name for name in names if name in RESERVED]
        if len(names) < 2 or unfit:
            raise DataError(
                f"the folders of {root} are {', '.join(names)}; expected at least two classes, none called "
                f"{', '.join(RESERVED)}; rename them, or remove {OPTIONS}.labels"
            )
        for name in names:
            cases[name] = (folder == name).astype("int8")
        return names


ADAPTER = ImageFolder()
