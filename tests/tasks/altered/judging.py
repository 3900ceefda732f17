"""What an altered copy came to: the four outcomes, of which the last is a fault."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import DiraBenchError
from tasks.cohorts.decode import write_pixels
from tasks.cohorts.filling import Filling
from tasks.cohorts.patches import write_patches
from tasks.options import Split
from tasks.patch_options import Patches

Alteration = Callable[[Path, np.random.Generator], str]
READ, REFUSED, WARNED, FAULT = "read right", "refused", "warned", "FAULT"


@dataclass(frozen=True)
class DataSet:
    """One data set, tiny.

    Attributes:
        name: Of the adapter.
        adapter: The adapter.
        split: How it is split.
        write: Writes the phantom into a folder.
        alterations: What can be done to a copy: each changes files and says in words what it did.
        patches: How volumes are cut; None for pictures.
    """

    name: str
    adapter: Any
    split: Split
    write: Callable[[Path], object]
    alterations: Mapping[str, Alteration]
    patches: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Content:
    """What a data set holds as the cohort's code reads it.

    Attributes:
        cases: Case → digestible content: its row, pixels and mask.
        warnings: What the verifier warns about.
    """

    cases: dict[str, tuple[Any, ...]]
    warnings: frozenset[str]


@dataclass(frozen=True)
class Verdict:
    """What a case came to.

    Attributes:
        outcome: ``READ``, ``REFUSED``, ``WARNED`` or ``FAULT``.
        said: The sentences, or what went wrong.
    """

    outcome: str
    said: tuple[str, ...]


class Refused(Exception):
    """The verifier or the reader refused a data set, in sentences."""


def read(data: DataSet, root: Path) -> Content:
    """Verify a data set and read all of it as ``data prepare`` does.

    Raises:
        Refused: If the verifier fails or the reader refuses it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a library's, about a file that was altered
            findings = data.adapter.verify(root, data.split, published=False, decode=True)
            failures = [finding.message for finding in findings if finding.level == "fail"]
            if failures:
                raise Refused(*failures)
            index = data.adapter.read(root, data.split)
            with tempfile.TemporaryDirectory() as name:
                cases = _cases(data, root, index, Path(name))
    except DiraBenchError as error:
        raise Refused(str(error)) from None
    return Content(cases, frozenset(f.message.replace(str(root), "") for f in findings if f.level == "warn"))


def _cases(data: DataSet, root: Path, index: Any, folder: Path) -> dict[str, tuple[Any, ...]]:
    if data.patches is None:
        write_pixels(Filling(folder), root, index, 32, "area")
    else:
        write_patches(Filling(folder), root, index, data.adapter, Patches.model_validate(data.patches))
    arrays = [np.load(folder / f"{name}.npy") for name in ("pixels", "masks") if (folder / f"{name}.npy").is_file()]
    table = index.cases.drop(columns="image")
    boxes = index.boxes if index.boxes is not None else pd.DataFrame({"case": []})
    return {
        str(case): (
            repr(table.iloc[row].to_dict()),
            repr(boxes[boxes["case"] == case].to_numpy().tolist()),
            *(array[row].tobytes() for array in arrays),
        )
        for row, case in enumerate(table["case"])
    }


def judge(data: DataSet, pristine: Path, before: Content, name: str, seed: int) -> Verdict:
    """Alter a copy and say what it came to."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(shutil.copytree(pristine, Path(temporary) / "root", copy_function=os.link))
        did = data.alterations[name](root, np.random.Generator(np.random.PCG64(seed)))
        try:
            after = read(data, root)
        except Refused as refused:
            bad = [str(said) for said in refused.args if not str(said).strip() or "\n" in str(said)]
            return Verdict(FAULT, (f"{did}: no sentence", *bad)) if bad else Verdict(REFUSED, tuple(refused.args))
        except Exception as error:  # whatever it is, it is no sentence
            return Verdict(FAULT, (f"{did}: {type(error).__name__}: {error}",))
    new = tuple(sorted(after.warnings - before.warnings))
    if new:
        return Verdict(WARNED, new)
    changed = [case for case in before.cases.keys() | after.cases if before.cases.get(case) != after.cases.get(case)]
    if changed:
        return Verdict(FAULT, (f"{did}: {len(changed)} cases changed in silence (first: {min(changed)})",))
    return Verdict(READ, ())
