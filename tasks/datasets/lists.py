"""Split lists of the user's own, the authors' for example, in place of an adapter's split.

A list is a text or CSV file; the first field of a line (up to white space or a comma) names an image, by its case name
or by a path that ends in it, with or without its extension. A header line is skipped. What stands behind the first
field (labels, in the authors' lists) is not read: labels come from the data set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from harness.errors import DataError
from harness.identity import file_sha256
from tasks.datasets.index import Index, leaks

HEADERS = {"path", "image", "image index", "imageid", "image_id", "file", "filename", "name", "case"}
EXTENSION = re.compile(r"\.(?:png|jpe?g|dcm)$", re.IGNORECASE)  # no other: a UID has dots of its own


def describe_list(root: Path, file: str) -> dict[str, str]:
    """Return what identifies a list: its path relative to the data root, as written, and its content's SHA-256.

    Raises:
        DataError: If it is not there.
    """
    path = root / file
    if not path.is_file():
        raise DataError(
            f"no split list {path}; expected a path relative to the data root; correct options.cohort.lists"
        )
    return {"file": file, "sha256": file_sha256(path)}


def read_names(path: Path) -> list[str]:
    """Return the first field of each line, the header left out.

    Raises:
        DataError: If the file is not text, or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a split list ({error}); expected a text or CSV file") from None
    names = [_first_field(line) for line in lines if line.strip()]
    if names and names[0].lower() in HEADERS:
        names = names[1:]
    if not names:
        raise DataError(f"{path} names no image; expected one a line; give another file")
    return names


def _first_field(line: str) -> str:
    """Return what stands before the first comma, or before the first white space where there is no comma."""
    return re.split(r"[,;]" if "," in line or ";" in line else r"\s", line.strip(), maxsplit=1)[0].strip().strip('"')


def apply_lists(index: Index, root: Path, lists: Mapping[str, Mapping[str, str]]) -> Index:
    """Return the index with the splits that lists say.

    Cases of a split that has a list are those of the list and no others. Without a list for test, the adapter's test
    cases stay; cases in no list are left out.

    Args:
        index: The adapter's.
        root: The data root.
        lists: Split → ``describe_list``'s answer.

    Raises:
        DataError: For a list that has changed since it was planned, names an unknown image, or shares an image or a
            patient with another.
    """
    known = _names_of(index)
    assigned = {} if "test" in lists else dict.fromkeys(index.cases.loc[index.cases["split"] == "test", "case"], "test")
    for part, given in lists.items():
        path = root / given["file"]
        if describe_list(root, given["file"])["sha256"] != given["sha256"]:
            raise DataError(f"the list {path} has changed since it was planned; run again to plan for what is there")
        for name in read_names(path):
            case = _find(name, known)
            if case is None:
                raise DataError(f'{path} names "{name}", which the data set does not hold; correct the list')
            if assigned.setdefault(case, part) != part:
                raise DataError(f"{case} is in the lists of {assigned[case]} and {part} ({path}); expected one of them")
    cases = index.cases.assign(split=index.cases["case"].map(lambda case: assigned.get(case, "")))
    cases = cases[cases["split"] != ""].reset_index(drop=True)
    for finding in leaks(cases):
        raise DataError(f"the split lists of {root}: {finding.message}")
    rule = "; ".join(f"{part}: {given['file']} (sha256 {given['sha256'][:12]})" for part, given in lists.items())
    kept = set(cases["case"])
    return replace(
        index,
        cases=cases,
        boxes=None if index.boxes is None else index.boxes[index.boxes["case"].isin(kept)].reset_index(drop=True),
        split_rule=f"lists given by the user, {rule}" + ("" if "test" in lists else "; test as the data set says"),
    )


def _names_of(index: Index) -> dict[str, str]:
    """Return every name that stands for a case: the case and, where unique, its file name without extension."""
    names = {case: case for case in index.cases["case"]}
    stems: dict[str, str | None] = {}
    for case in names:
        stem = EXTENSION.sub("", case)
        stems[stem] = None if stem in stems else case
    return {**{stem: case for stem, case in stems.items() if case is not None}, **names}


def _find(name: str, known: Mapping[str, str]) -> str | None:
    """Return the case of a name, leading folders removed one at a time; then the same without its extension."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        if tail in known:
            return known[tail]
        if EXTENSION.sub("", tail) in known:
            return known[EXTENSION.sub("", tail)]
    return None
