"""What the layouts of one's own images share: how pictures are read, whose they are, and which are the same twice.

Pictures are PNG or JPEG, as ``tasks.layouts.images`` takes them; one in colour is refused unless the entry says that
its colour may be lost.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, JsonValue

from harness.errors import DataError
from harness.identity import digest, file_sha256
from harness.late import pd
from harness.pixels import SPLITS
from harness.spec import Frozen
from tasks.layouts.finding import Files
from tasks.layouts.images import read_grey
from tasks.layouts.in_parallel import OPENING, each
from tasks.layouts.index import Finding, Index, fingerprint_of
from tasks.options import Split

IMAGES = (".png", ".jpg", ".jpeg")
SAME = "have the same"  # content: how a message about two pictures is known
OPTIONS = "options.cohort.adapter"  # where an entry says what an adapter asks
RESERVED = ("row", "case", "patient", "image", "split")  # columns of a cohort that no label can be called
USUAL_SPLIT = Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99)  # to verify without an entry


class Pictures(Frozen):
    """How the pictures of a layout are read.

    Attributes:
        white: The value of 16-bit PNGs that becomes 255; None: 16 bits are refused.
        colour: ``luma``: a picture in colour becomes its ITU-R 601 luma; ``refuse``: it is an error.
    """

    white: int | None = Field(default=None, ge=256, le=65535)
    colour: Literal["refuse", "luma"] = "refuse"

    def reader(self, root: Path) -> Callable[[str], np.ndarray]:
        """Return what reads a picture by its path relative to the root, uint8 grey ``(height, width)``."""
        return lambda image: read_grey(
            root / image, self.white, colour=self.colour == "luma", white_option=f"{OPTIONS}.white"
        )

    def facts(self) -> dict[str, JsonValue]:
        """Return what a manifest should say of it: what is not the default."""
        return {
            key: value
            for key, value in (("white", self.white), ("colour", self.colour))
            if value not in (None, "refuse")
        }


def _with_one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"found {pattern!r}, which is no regular expression ({error})") from None
    if groups != 1:
        raise ValueError(f'found {pattern!r}; expected one group in brackets, as in "^([0-9]+)_"')
    return pattern


# A regular expression whose one group is the patient in the name of a file.
PatientPattern = Annotated[str, AfterValidator(_with_one_group)]


def patient_of(path: str, pattern: str | None) -> str:
    """Return the patient that a file's name says; without a pattern each picture is a patient of its own.

    Raises:
        DataError: If the pattern does not fit the name.

    Example:
        >>> patient_of("images/p07_left.png", "^(p[0-9]+)_")
        'p07'
    """
    name = PurePosixPath(path).name
    if pattern is None:
        return path
    found = re.search(pattern, name)
    if found is None or not found.group(1):
        raise DataError(
            f'the name {name} says no patient by the pattern "{pattern}"; expected one in every name; correct '
            f"{OPTIONS}.patient_pattern, or rename the file"
        )
    return found.group(1)


def require_random(split: Split, what: str, more: str = "") -> None:
    """Refuse an official split of files that say none.

    Args:
        split: As the entry has it.
        what: The layout, for the message.
        more: What else can be done about it.

    Raises:
        DataError: If the rule is another than random.
    """
    if split.rule != "random":
        raise DataError(
            f'split "{split.rule}" of {what} is not said anywhere; expected "random"; correct the entry{more}'
        )


def layout_fingerprint(root: Path, what: str, *texts: str, named: Mapping[str, str] | None = None) -> str:
    """Digest the content of text files and every picture's path and size, whatever the entry's options are.

    Args:
        root: The data root.
        what: The layout, for the message.
        texts: Endings of the text files.
        named: Option → SHA-256 of the file that it names, where an entry names any.

    Raises:
        DataError: If there is no such folder.
    """
    files = Files.under(root, what)
    said = [root / path for path in files.every(*texts)] if texts else []
    found = fingerprint_of(root, said, [root / path for path in files.every(*IMAGES)])
    return digest({"files": found, **named}) if named else found


def look_at_all(index: Index, look: Callable[[str, str], np.ndarray]) -> list[Finding]:
    """Read every picture; return what cannot be read, and which have the same pixels.

    Args:
        index: The cases.
        look: Case, image → its pixels; raises ``DataError``.
    """

    def one(pair: tuple[str, str]) -> Finding | str:
        try:
            pixels = look(*pair)
        except DataError as error:
            return Finding("fail", str(error))
        return f"{pixels.shape}{hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()}"

    pairs = list(zip(index.cases["case"], index.cases["image"], strict=True))
    found = [(case, what) for (case, _), what in each(one, pairs, OPENING)]
    seen = {case: what for case, what in found if isinstance(what, str)}
    return [what for _, what in found if isinstance(what, Finding)] + twins(index, seen, "pixels")


def same_files(root: Path, index: Index) -> list[Finding]:
    """Return which cases have files of the same bytes, without decoding any: the quick form of ``look_at_all``."""
    sizes: dict[int, list[tuple[str, str]]] = {}
    for case, image in zip(index.cases["case"], index.cases["image"], strict=True):
        sizes.setdefault((root / image).stat().st_size, []).append((case, image))
    alike = (pair for pairs in sizes.values() if len(pairs) > 1 for pair in pairs)
    return twins(index, {case: file_sha256(root / image) for case, image in alike}, "bytes")


def twins(index: Index, contents: Mapping[str, str], what: str) -> list[Finding]:
    """Return a failure for the same content in two splits, and a warning for it twice in one.

    Args:
        index: The cases.
        contents: Case → digest of its content.
        what: What is the same, for the message.
    """
    split = dict(zip(index.cases["case"], index.cases["split"], strict=True))
    groups: dict[str, list[str]] = {}
    for case in sorted(contents):
        groups.setdefault(contents[case], []).append(case)
    several = [group for group in groups.values() if len(group) > 1]
    torn = [group for group in several if len({split[case] for case in group}) > 1]
    findings = []
    if torn:
        pair = [torn[0][0], next(case for case in torn[0] if split[case] != split[torn[0][0]])]
        findings.append(
            Finding(
                "fail",
                f"{pair[0]} ({split[pair[0]]}) and {pair[1]} ({split[pair[1]]}) {SAME} {what}{_more(torn)}; "
                "expected no picture in two splits; remove one, or give both the same patient",
            )
        )
    rest = [group for group in several if group not in torn]
    if rest:
        findings.append(
            Finding("warn", f"{rest[0][0]} and {rest[0][1]} {SAME} {what}{_more(rest)}; each counts as a case")
        )
    return findings


def kept_of_repeated(cases: pd.DataFrame, reader: Callable[[str], np.ndarray]) -> pd.Series:
    """Say which cases are in no later split too, pixel by pixel; the splits are train, validation and test."""
    found = map(reader, cases["image"])
    contents = [hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest() for pixels in found]
    last: dict[bytes, int] = {}
    for content, part in zip(contents, cases["split"], strict=True):
        last[content] = max(last.get(content, 0), SPLITS.index(part))
    latest = [SPLITS[last[content]] for content in contents]
    return pd.Series(cases["split"].to_numpy() == np.array(latest), index=cases.index)


def rare_labels(index: Index) -> list[Finding]:
    """Warn of labels that cannot be scored, because all test cases have them or none has."""
    test = index.cases[index.cases["split"] == "test"]
    words = [(label, int((test[label] > 0).sum())) for label in index.labels]
    return [
        Finding("warn", f"{count} of {len(test)} test cases have {label}; its AUC cannot be told and is left out")
        for label, count in words
        if count in (0, len(test))
    ]


def require_parts(index: Index, parts: Iterable[str], what: str) -> Index:
    """Return the index if each of these splits has a case.

    Raises:
        DataError: Otherwise.
    """
    for part in parts:
        if not (index.cases["split"] == part).any():
            raise DataError(f"{what} has no case in {part}; expected some in each split; correct the splits")
    return index


def _more(groups: list[list[str]]) -> str:
    return f", and {len(groups) - 1} more such pictures are there" if len(groups) > 1 else ""
