"""A table of one's own: a CSV with a row an image, which says where it lies, whose it is and what it shows.

```
path,patient,effusion,nodule            path,patient,finding,split
a/001.png,p1,0,1                        001.png,p1,effusion|nodule,train
a/002.png,p2,0,0                        002.png,p2,none,test
```

Labels are one column of 0 and 1 each (left), or one column of words joined by ``|`` (right), whose vocabulary the entry
gives. ``split: official`` reads the column of splits, ``split: random`` draws them by patient. Nothing is guessed: a
cell that is empty, or says anything else, is refused with its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pydantic import Field, model_validator

from harness.errors import DataError
from harness.late import pd
from harness.pixels import SPLITS
from harness.typed import near, read
from tasks.layouts.finding import Files, plain
from tasks.layouts.index import Finding, Index, leaks, missing_cases, refuse
from tasks.layouts.pictures import (
    OPTIONS,
    RESERVED,
    Pictures,
    layout_fingerprint,
    look_at_all,
    rare_labels,
    require_parts,
    same_files,
)
from tasks.layouts.rows import Row, read_rows
from tasks.layouts.splits import draw_patients, draw_splits
from tasks.options import Split

YES_OR_NO = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
WHAT = "the table of images"


class Options(Pictures):
    """Which file and which columns.

    Attributes:
        table: Name of the CSV.
        path: Column of paths, relative to the data root or to any folder below it.
        patient: Column of patients; None: each image is a patient of its own.
        split_column: Column of train, validation and test, read under ``split: official``.
        labels: Columns of 0 and 1, or, with ``classes``, the one column of words.
        classes: The words, in the order of the outputs.
        none: The word for an image that shows none of them.
    """

    table: str = Field(default="table.csv", min_length=1)
    path: str = "path"
    patient: str | None = "patient"
    split_column: str = "split"
    labels: str | tuple[str, ...] = "label"
    classes: tuple[str, ...] | None = None
    none: str | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Options:
        if self.classes is not None and not isinstance(self.labels, str):
            raise ValueError("found classes and a list of labels; expected classes with one column; remove one of them")
        if self.classes is None and self.none is not None:
            raise ValueError("found none without classes; it is a word of their column; add classes or remove none")
        names = self.names
        unfit = [n for n in names if n in RESERVED or not n.strip() or "|" in n or names.count(n) > 1 or n == self.none]
        if unfit or not names:
            raise ValueError(
                f"found the labels {list(names)}; expected at least one, each once, none called {', '.join(RESERVED)}"
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The labels, in the order of the outputs."""
        columns = (self.labels,) if isinstance(self.labels, str) else self.labels
        return columns if self.classes is None else self.classes

    def columns(self, official: bool) -> list[str]:
        """Return the columns that are read."""
        labels = [self.labels] if isinstance(self.labels, str) else list(self.labels)
        return [c for c in (self.path, self.patient, *labels, self.split_column if official else None) if c]


@dataclass(frozen=True)
class Table:
    """The adapter; see the module for the layout."""

    name: str = "table"
    options: Options = field(default_factory=Options)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the outputs."""
        return self.options.names

    def with_options(self, options: Mapping[str, object]) -> Table:
        """Return the adapter with ``options.cohort.adapter`` of an entry.

        Raises:
            Mistakes: For an unknown option or value.
        """
        return replace(self, options=read(Options, dict(options), f"{OPTIONS}."))

    def read(self, root: Path, split: Split) -> Index:
        """Index every row.

        Raises:
            DataError: For anything the table or its images lack, or says twice, and for a patient in two splits.
        """
        files = Files.under(root, WHAT)
        index, absent = self._index(root, files, split)
        refuse(missing_cases("images of the table", absent, len(absent) + len(index.cases), root, split))
        refuse(leaks(index.cases))
        return require_parts(index, SPLITS, self.options.table)

    def verify(
        self, root: Path, split: Split | None = None, *, published: bool = True, decode: bool = True
    ) -> list[Finding]:
        """Check rows, images and leaks; ``decode`` compares pixels, else the bytes of files are compared."""
        split = split or Split(rule="official", validation_fraction=0.1, seed=99)
        index, absent = self._index(root, Files.under(root, WHAT), split)
        findings = missing_cases("images of the table", absent, len(absent) + len(index.cases), root, split)
        findings += leaks(index.cases)
        reader = self.options.reader(root)
        findings += look_at_all(index, lambda _, image: reader(image)) if decode else same_files(root, index)
        if self.options.patient is None:
            findings.append(Finding("note", "the entry names no patients, so each image counts as one"))
        if not any(f.level == "fail" for f in findings):
            require_parts(index, SPLITS, self.options.table)
        return findings + rare_labels(index)

    def fingerprint(self, root: Path) -> str:
        """Digest of every CSV below the root and of every picture's path and size, whatever the options are."""
        return layout_fingerprint(root, WHAT, ".csv")

    def _index(self, root: Path, files: Files, split: Split) -> tuple[Index, list[str]]:
        """Return the cases whose image is there, and the paths of those whose image is not."""
        official = split.rule == "official"
        table = files.one(self.options.table, what=f"{WHAT} ({OPTIONS}.table)")
        rows = read_rows(root / table, self.options.columns(official))
        cases: list[dict[str, str | int]] = []
        absent: list[str] = []
        lines: dict[str, str] = {}
        for row in rows:
            said = row.cells[self.options.path]
            image = _find(files, said, row.line)
            earlier = lines.setdefault(image or plain(said), row.line)
            if earlier != row.line:
                raise DataError(f'"{said}" stands in {earlier} and in {row.line}; expected a row an image; remove one')
            if not image:
                absent.append(said)
                continue
            known = {"case": said, "patient": self._patient(row), "image": image, "split": self._split(row, official)}
            cases.append({**known, **self._labels(row)})
        frame = pd.DataFrame(cases, columns=["case", "patient", "image", "split", *self.labels])
        frame = frame.astype(dict.fromkeys(self.labels, "int8")).sort_values("case", ignore_index=True)
        rule = "as the table says"
        if not official:
            frame["split"], rule = draw_splits(frame["patient"].tolist(), split, self.options.table)
        elif not (frame["split"] == "validation").any():
            frame["split"], rule = _with_validation(frame, split)
        index = Index(frame, self.labels, reader=self.options.reader(root), split_rule=rule, facts=self.options.facts())
        return index, sorted(absent)

    def _patient(self, row: Row) -> str:
        column = self.options.patient
        return row.cells[self.options.path] if column is None else _cell(row, column, "a patient")

    def _split(self, row: Row, official: bool) -> str:
        if not official:
            return ""
        said = _cell(row, self.options.split_column, "train, validation or test")
        if said not in SPLITS:
            raise DataError(f'{row.line} says the split "{said}"; {near(said, SPLITS)} Correct that line')
        return said

    def _labels(self, row: Row) -> dict[str, int]:
        if self.options.classes is None:
            return {label: self._yes_or_no(row, label) for label in self.labels}
        column = str(self.options.labels)
        known = [*self.labels, *([] if self.options.none is None else [self.options.none])]
        also = "" if self.options.none is not None else f" (for an image without any, name {OPTIONS}.none)"
        words = [word.strip() for word in _cell(row, column, f"one of {', '.join(known)}{also}").split("|")]
        for word in words:
            if word not in known:
                raise DataError(f'{row.line} says "{word}" in {column}; {near(word, known)} Correct it, or the entry')
        if self.options.none in words and len(set(words)) > 1:
            raise DataError(f'{row.line} says "{"|".join(words)}"; expected {self.options.none} alone, or no such word')
        return {label: int(label in words) for label in self.labels}

    @staticmethod
    def _yes_or_no(row: Row, label: str) -> int:
        said = _cell(row, label, "0 or 1")
        if said not in YES_OR_NO:
            raise DataError(f'{row.line} says "{said}" in {label}; expected 0 or 1; correct it, or name the classes')
        return YES_OR_NO[said]


def _cell(row: Row, column: str, expected: str) -> str:
    said = row.cells[column]
    if not said:
        raise DataError(f"{row.line} is empty in {column}; expected {expected}; fill it, or remove the line")
    return said


def _with_validation(frame: pd.DataFrame, split: Split) -> tuple[list[str], str]:
    """Hold out a share of the training patients, where the table names none for validation."""
    train = set(frame.loc[frame["split"] == "train", "patient"])
    held = draw_patients(train, split.validation_fraction, split.seed) if len(train) > 1 else set()
    parts = zip(frame["patient"], frame["split"], strict=True)
    rule = (
        f"as the table says; {split.validation_fraction:.0%} of its training patients for validation, seed {split.seed}"
    )
    return ["validation" if part == "train" and who in held else part for who, part in parts], rule


def _find(files: Files, said: str, line: str) -> str | None:
    """Return the file that a path of the table means: below the root or below any folder in it; None if none is.

    Raises:
        DataError: If the path could leave the root, or means two files.
    """
    parts = PurePosixPath(said).parts
    if not parts or said.startswith("/") or ".." in parts or any(mark in said for mark in "\\:\0"):
        raise DataError(
            f'"{said}" in {line} is no path below the data root; expected one such as images/001.png; correct it'
        )
    wanted = plain("/".join(parts))
    found = [path for path in files.named(parts[-1]) if f"/{plain(path)}".endswith(f"/{wanted}")]
    exact = [path for path in found if plain(path) == wanted]
    if len(exact or found) > 1:
        raise DataError(
            f'"{said}" in {line} may be {found[0]} or {found[1]}; expected one file; write more of its path there'
        )
    return next(iter(exact or found), None)


ADAPTER = Table()
