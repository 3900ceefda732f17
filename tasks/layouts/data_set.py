"""What a data set is: its reader, its phantoms, its terms. Each folder of ``tasks/datasets`` declares one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, JsonValue

from harness.spec import DataTerms
from tasks.layouts.adapter import Adapter

# Writes a phantom in the data set's true layout, from the generator's own options; returns facts for the manifest.
Generator = Callable[[Path, Mapping[str, object]], Mapping[str, JsonValue] | None]
Library = Literal["pydicom", "nibabel", "SimpleITK"]


@dataclass(frozen=True)
class Phantom:
    """What makes synthetic images in a data set's true layout.

    Attributes:
        write: The generator.
        options: Its options; None: it takes what it is given.
        sources: Files out of packages that it reads (``tasks.phantoms.anatomy_files``); their digests are part of what
            its phantoms are.
        stamp: What every page prints beside a number from it; empty: what the profile says.
    """

    write: Generator
    options: type[BaseModel] | None = None
    sources: tuple[str, ...] = ()
    stamp: str = ""


@dataclass(frozen=True)
class DataSet:
    """A data set, or a layout that is ready for anybody's images.

    Attributes:
        name: Its folder's name; for one with an adapter also what an entry writes under ``adapter``.
        terms: What it is called, its licence, how it is cited, where it is.
        dimensions: Of its images; None: of a layout that says nothing about them.
        adapter: What reads it; None: a ready layout does, which the task's entry names.
        options: The adapter's own options (``options.cohort.adapter``); None: it has none.
        phantom: What makes its phantom, by the data set's name.
        anatomy: The same with projections of one real scan, by the name ``anatomy_<name>``.
        needs: Library that reads its files, of the optional extra ``data``.
        serves: Transfers that a ready layout has the labels for; None: a data set with labels of its own.
        labels_of_entry: Whether the entry's options name the labels, so that they are known before a file is.
        uncertain_labels: Whether it has labels beside 0 and 1.
        unused_patches: Keys of ``patches`` that have no effect, because it says where its patches lie.
    """

    name: str
    terms: DataTerms
    dimensions: Literal[2, 3] | None
    adapter: Adapter | None = None
    options: type[BaseModel] | None = None
    phantom: Phantom | None = None
    anatomy: Phantom | None = None
    needs: Library | None = None
    serves: tuple[str, ...] | None = None
    labels_of_entry: bool = False
    uncertain_labels: bool = False
    unused_patches: tuple[str, ...] = ()
