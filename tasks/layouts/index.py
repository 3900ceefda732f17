"""What every adapter returns, whatever the data set looks like on disk: an index of cases, and findings about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from harness.errors import DataError
from harness.identity import digest, file_sha256
from harness.late import pd
from harness.pixels import SPLITS
from tasks.layouts.in_parallel import SIZES, counted
from tasks.options import Split


@dataclass(frozen=True)
class Finding:
    """What a verifier has to say.

    Attributes:
        level: ``note`` for what the entry declares, ``warn`` for counts (mirrors drop files), ``fail`` for what would
            make numbers wrong.
        message: One sentence: found, where, expected.
    """

    level: Literal["note", "warn", "fail"]
    message: str


@dataclass(frozen=True)
class Index:
    """The cases of a data set.

    Attributes:
        cases: One row a case, ordered by case: ``case``, ``patient``, ``image`` (path relative to the root), ``split``
            (train, validation or test; empty in a declared sample, where only lists of the user's can say) and one
            0/1 column per label; −1 is uncertain, in train and validation only.
        labels: Names of the label columns, in the order of the outputs.
        masks: Case → mask files relative to the root; their union is the foreground. Empty without segmentation.
        boxes: ``case, label, x, y, width, height`` in pixels, top-left corner first.
        box_frame: (width, height) of the pictures in which the boxes were drawn, in pixels; None: the images' own size.
        white: The 16-bit value that becomes 255 (``tasks.layouts.images``); None: 16 bits are refused.
        reader: What reads an image by what ``image`` says of it, uint8 grey ``(height, width)``, where that is not
            ``tasks.layouts.images.read_grey`` of a file with ``white``.
        split_rule: In words, how the split came about.
        runs: Case → run lengths (``tasks.layouts.run_lengths``); their union is the foreground, none is an empty mask.
            Given instead of ``masks``.
        facts: What the manifest should say besides: states of label cells, images left out.
        split_facts: Those of them that describe the adapter's own split, so not one by lists of the user's.
        without_cases: Names of scans and patients that are there and have no case, which a list may name.
        parts: Splits that must have a case; images that are only pretrained on need none for test.
        thinned: Splits whose negatives were thinned, so that no test set can be made of their cases.
    """

    cases: pd.DataFrame
    labels: tuple[str, ...]
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    boxes: pd.DataFrame | None = None
    box_frame: tuple[int, int] | None = None
    white: int | None = None
    reader: Callable[[str], np.ndarray] | None = None
    split_rule: str = ""
    runs: Mapping[str, tuple[str, ...]] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    split_facts: tuple[str, ...] = ()
    without_cases: frozenset[str] = frozenset()
    parts: tuple[str, ...] = SPLITS
    thinned: tuple[str, ...] = ()

    def split_hashes(self) -> dict[str, str]:
        """Return split → SHA-256 of its sorted case names."""
        return {s: digest(sorted(self.cases.loc[self.cases["split"] == s, "case"])) for s in SPLITS}


class Box(NamedTuple):
    """A box on an image: pixels, the top-left corner first."""

    case: str
    label: str
    x: float
    y: float
    width: float
    height: float


def boxes_of(table: pd.DataFrame) -> Iterator[Box]:
    """Yield the boxes of a table with the columns of ``Box``."""
    return (Box(*row) for row in table[list(Box._fields)].itertuples(index=False, name=None))


def require_folder(root: Path, what: str) -> Path:
    """Return ``root`` if it is a folder.

    Raises:
        DataError: Otherwise.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root}; expected the root of {what}; correct its data root")
    return root


def fingerprint_of(root: Path, texts: Iterable[Path], images: Iterable[Path]) -> str:
    """Digest text files by content and image files by name and size; folders above ``root`` do not count."""
    return digest(
        {
            "texts": {p.relative_to(root).as_posix(): file_sha256(p) for p in sorted(texts)},
            "images": [[p.relative_to(root).as_posix(), p.stat().st_size] for p in counted(sorted(images), SIZES)],
        }
    )


def leaks(cases: pd.DataFrame) -> list[Finding]:
    """Return a failure for the patients that appear in more than one split.

    Example:
        >>> cases = pd.DataFrame({"patient": ["p1", "p1", "p2"], "split": ["train", "test", "train"]})
        >>> leaks(cases)[0].level, leaks(cases)[0].message
        ('fail', '1 patients are in two splits (first: p1); expected splits by patient')
    """
    splits = cases.groupby("patient")["split"].nunique()
    torn = sorted(splits.index[splits > 1])
    if not torn:
        return []
    shown = ", ".join(torn[:3])
    return [Finding("fail", f"{len(torn)} patients are in two splits (first: {shown}); expected splits by patient")]


def missing_cases(what: str, absent: Sequence[str], listed: int, root: Path, split: Split) -> list[Finding]:
    """Return what listed cases that are not there amount to: a failure, or a note in a declared sample.

    A test set that lacks cases is another test set, so every adapter asks this about its published test cases.

    Args:
        what: The cases in words, in the plural: ``test images``.
        absent: Names of those that are not there, in order.
        listed: How many are listed.
        root: The data root.
        split: Its ``sample`` says whether the data set is there in part on purpose.
    """
    if not absent:
        return []
    found = f"{len(absent)} of {listed} {what} are not under {root} (first: {absent[0]})"
    if split.sample:
        return [Finding("note", f"{found}; the entry declares a sample, so they are left out")]
    advice = "fetch them, or write sample: true in the task's entry if only a part is meant to be there"
    return [Finding("fail", f"{found}; expected all of them; {advice}")]


def declared(split: Split) -> list[Finding]:
    """Return a note where the entry declares a sample."""
    text = "the entry declares a sample of the data set: its test cases never count as the published ones"
    return [Finding("note", text)] if split.sample else []


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the first failure.

    Raises:
        DataError: If there is one.
    """
    for finding in findings:
        if finding.level == "fail":
            raise DataError(finding.message)


def count_differences(found: Mapping[str, int], published: Mapping[str, int], where: str) -> list[Finding]:
    """Return a warning, with the difference, for each count that is not the published one."""
    return [
        Finding("warn", f"{where} has {found[k]} {k}, {found[k] - n:+d} against the published {n}")
        for k, n in published.items()
        if k in found and found[k] != n
    ]
