"""Split lists of the user's own, the authors' for example, in place of an adapter's split.

A list is a text or CSV file; the first field of a line (up to white space or a comma) names an image, by its case name
or by a path that ends in it, with or without its extension. A header line is skipped. What stands behind the first
field (labels, in the authors' lists) is not read: labels come from the data set. In 3D, where a case is a patch, a name
may also be that of a scan (``case`` up to the slash, or its file) or of a patient, and stands for all cases of it.

A path that begins with ``tasks/lists/`` is a list of this repository; any other is relative to the data root.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from harness.errors import DataError
from harness.identity import file_sha256
from tasks.layouts.index import Index, leaks

UNCERTAIN = -1  # of a label

HEADERS = {"path", "image", "image index", "imageid", "image_id", "file", "filename", "name", "case"}
HEADERS |= {"seriesuid", "series_uid", "scan", "patient", "patient_id", "patientid"}
COMMITTED = "tasks/lists/"  # begins the path of a list that is part of this repository
EXTENSION = re.compile(r"\.(?:png|jpe?g|dcm|mhd|nii|nii\.gz)$", re.IGNORECASE)  # no other: a UID has dots of its own


def place_of(root: Path, file: str) -> Path:
    """Return where a list lies: in this repository if its path begins with ``tasks/lists/``, else below the data root.

    Raises:
        DataError: If the path could leave the folder.
    """
    if ".." in PurePosixPath(file).parts:
        raise DataError(f"the list {file} lies above its folder; expected no .. in its path; put the list there")
    if file.startswith(COMMITTED):
        return Path(__file__).parents[1] / "lists" / file.removeprefix(COMMITTED)
    return root / file


def describe_list(root: Path, file: str) -> dict[str, str]:
    """Return what identifies a list: its path as written, and its content's SHA-256.

    Raises:
        DataError: If it is not there.
    """
    path = place_of(root, file)
    if not path.is_file():
        raise DataError(
            f"no list {path}; expected a path relative to the data root, or {COMMITTED}… for one of the repository; "
            "correct it in the entry"
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


def apply_lists(index: Index, root: Path, lists: Mapping[str, Mapping[str, str]], *, patches: bool = False) -> Index:
    """Return the index with the splits that lists say.

    Cases of a split that has a list are those of the list and no others. Without a list for test, the adapter's test
    cases stay; cases in no list are left out.

    Args:
        index: The adapter's.
        root: The data root.
        lists: Split → ``describe_list``'s answer.
        patches: Whether cases are patches of scans, so that names of scans and patients stand for theirs.

    Raises:
        DataError: For a list that has changed since it was planned, names an unknown image or none that is a case, or
            shares an image or a patient with another; for a test list with uncertain labels or thinned negatives.
    """
    known = _names_of(index, patches)
    assigned = {} if "test" in lists else dict.fromkeys(index.cases.loc[index.cases["split"] == "test", "case"], "test")
    for part, given in lists.items():
        path = place_of(root, given["file"])
        if describe_list(root, given["file"])["sha256"] != given["sha256"]:
            raise DataError(f"the list {path} has changed since it was planned; run again to plan for what is there")
        for name in read_names(path):
            found = _find(name, known)
            if found is None:
                raise DataError(f'{path} names "{name}", which the data set does not hold; correct the list')
            for case in found:
                if assigned.setdefault(case, part) != part:
                    both = f"{assigned[case]} and {part} ({path})"
                    raise DataError(f"{case} is in the lists of {both}; expected one of them; correct the lists")
        if part not in assigned.values():
            raise DataError(f"{path} names scans without a case alone; expected {part} cases; give another list")
    if "test" in lists:
        _check_test(index, assigned, place_of(root, lists["test"]["file"]))
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
        facts={name: fact for name, fact in index.facts.items() if name not in index.split_facts},
    )


def _check_test(index: Index, assigned: Mapping[str, str], path: Path) -> None:
    """Refuse a test list of cases that cannot be scored."""
    test = index.cases[index.cases["case"].map(lambda case: assigned.get(case) == "test")]
    for label in index.labels:
        rows = test.loc[test[label] == UNCERTAIN, "case"]
        if len(rows):
            raise DataError(
                f"the test list {path} names {len(rows)} images with an uncertain {label} (first: {rows.iloc[0]}); "
                "expected 1 or 0 for test; leave them out of it"
            )
    sampled = test.loc[test["split"].isin(index.thinned), "case"]
    if len(sampled):
        raise DataError(
            f"the test list {path} names {len(sampled)} cases (first: {sampled.iloc[0]}) of scans whose negatives are "
            "thinned; expected all of a test scan's; write options: {cohort: {adapter: {negatives_per_positive: null}}}"
        )


def _names_of(index: Index, patches: bool) -> dict[str, tuple[str, ...]]:
    """Return name → cases it stands for: a case and, where unique, its file name without extension; scans, patients."""
    names = {case: case for case in index.cases["case"]}
    stems: dict[str, str | None] = {}
    for case in names:
        stem = EXTENSION.sub("", case)
        stems[stem] = None if stem in stems else case
    known = {**stems, **names}
    single: dict[str, tuple[str, ...]] = {name: (case,) for name, case in known.items() if case is not None}
    if not patches:
        return single
    several: dict[str, tuple[str, ...]] = dict.fromkeys(index.without_cases, ())
    cases = index.cases
    scans = cases["case"].str.split("/").str[0]
    files = cases["image"].map(lambda image: EXTENSION.sub("", PurePosixPath(image).name))
    for names_of_cases in (files, cases["patient"], scans):  # the last has the last word
        several |= {str(name): tuple(group) for name, group in cases["case"].groupby(names_of_cases)}
    return {**several, **single}


def _find(name: str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return the cases of a name, leading folders removed one at a time; then the same without its extension."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        if tail in known:
            return known[tail]
        if EXTENSION.sub("", tail) in known:
            return known[EXTENSION.sub("", tail)]
    return None
