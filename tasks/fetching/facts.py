"""What the sources of a fetched data root are: repositories at fixed commits, digests, terms, rules of choice.

The facts stand in a YAML file beside this module; its comments say what each means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from harness.typed import read
from harness.yaml_files import load_yaml

RADIOGRAPHS = Path(__file__).parent / "radiographs.yaml"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Count = Annotated[int, Field(ge=1)]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Repository(_Facts):
    """A public repository at a commit, the digest over the files used from it, and their terms."""

    address: str
    commit: Commit
    files: Count
    sha256: Sha256
    terms: str
    credit: str

    @property
    def name(self) -> str:
        """The address without its scheme: ``github.com/owner/name``."""
        return self.address.rpartition("://")[2]


class PackageFile(_Facts):
    """A file inside an installed package."""

    path: str
    sha256: Sha256


class Package(_Facts):
    """An installed package whose files are read and which is never imported."""

    name: str
    version: str
    labels: PackageFile
    boxes: PackageFile
    masks: PackageFile
    terms: str
    credit: str

    @property
    def title(self) -> str:
        """Name and version as SOURCES.csv writes them."""
        return f"{self.name} {self.version}"


class Nih(_Facts):
    """Which ChestX-ray14 images are taken, and how they are reduced."""

    folders: tuple[str, ...]
    side: Count
    originals: tuple[str, ...]
    mean: float


class Share(_Facts):
    """Every so manieth of the sorted names of a folder, and no more than so many."""

    every: Count
    at_most: Count


class Mednist(_Facts):
    """Which MedNIST images are taken."""

    folder: str
    classes: dict[str, Share]


class CovidChestxray(_Facts):
    """Which radiographs and masks of covid-chestxray are taken, and how they are reduced."""

    modality: str
    views: tuple[str, ...]
    side: Count
    quality: Count
    mean: float
    masks: Count
    masks_mean: float
    left_out: tuple[str, ...]


class Pneumoniamnist(_Facts):
    """How the two copies of PneumoniaMNIST are put together; counts are normal, pneumonia."""

    pneumonia: str
    normal: str
    seed: int
    counts: dict[str, tuple[int, int]]


class Facts(_Facts):
    """All of it."""

    largest: Count
    repositories: dict[str, Repository]
    package: Package
    nih: Nih
    mednist: Mednist
    covid_chestxray: CovidChestxray
    pneumoniamnist: Pneumoniamnist


def load_facts(path: Path = RADIOGRAPHS) -> Facts:
    """Read the facts.

    Raises:
        ConfigurationError: If the file is damaged.
    """
    return read(Facts, load_yaml(path), f"{path}: ")


def digest_of(files: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 over ``sha256sum``'s lines of (path, SHA-256) pairs, each once, sorted by path."""
    return hashlib.sha256("".join(f"{sha}  {path}\n" for path, sha in sorted(set(files))).encode()).hexdigest()
