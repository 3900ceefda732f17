"""A folder of one's own with pictures and nothing else, to pretrain on: ``transfer: none`` in its entry.

Every PNG and JPEG below the root counts. A share of the patients validates the pretraining; who is in it depends on the
patient's name and the seed alone, so that pictures that are added move no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import DataError
from harness.typed import read
from tasks.datasets.finding import Files
from tasks.datasets.index import Finding, Index, leaks
from tasks.datasets.pictures import (
    IMAGES,
    OPTIONS,
    PatientPattern,
    Pictures,
    layout_fingerprint,
    look_at_all,
    patient_of,
    require_parts,
    same_files,
)
from tasks.datasets.splits import held_by_name
from tasks.options import Split

WHAT = "the folder of images"
PARTS = ("train", "validation")


class Options(Pictures):
    """How the files are read.

    Attributes:
        patient_pattern: Regular expression whose group is the patient in an image's name; None: each is a patient.
    """

    patient_pattern: PatientPattern | None = None


@dataclass(frozen=True)
class ImageFolder:
    """The adapter; see the module for the layout."""

    name: str = "image_folder"
    labels: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)

    def with_options(self, options: Mapping[str, Any]) -> ImageFolder:
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
        index = self._index(root, split or Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99))
        reader = self.options.reader(root)
        findings = look_at_all(index, lambda _, image: reader(image)) if decode else same_files(root, index)
        return [*leaks(index.cases), *findings]

    def fingerprint(self, root: Path) -> str:
        """Digest of every picture's path and size."""
        return layout_fingerprint(root, WHAT)

    def _index(self, root: Path, split: Split) -> Index:
        if split.rule != "random":
            raise DataError(
                f'split "{split.rule}" of {WHAT} is not said anywhere; expected "random"; correct the entry'
            )
        paths = sorted(Files.under(root, WHAT).every(*IMAGES))
        if not paths:
            raise DataError(f"no PNG or JPEG below {root}; expected {WHAT} to pretrain on; put it there")
        patients = [patient_of(path, self.options.patient_pattern) for path in paths]
        held = [held_by_name(patient, split.validation_fraction, split.seed) for patient in patients]
        cases = pd.DataFrame({"case": paths, "patient": patients, "image": paths})
        cases["split"] = ["validation" if out else "train" for out in held]
        share = f"{split.validation_fraction:.0%}"
        rule = f"{share} of the patients for validation, by a hash of their names and seed {split.seed}"
        return Index(
            cases,
            self.labels,
            reader=self.options.reader(root),
            split_rule=rule,
            facts=self.options.facts(),
            parts=PARTS,
        )


ADAPTER = ImageFolder()
