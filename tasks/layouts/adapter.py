"""What reads a data set: the protocols that every adapter (layout reader) satisfies, built in or from outside.

``Adapter`` is what each has. The other protocols are what some have besides; a caller asks for them by ``isinstance``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from harness.late import pd
from tasks.layouts.index import Finding, Index
from tasks.layouts.volumes import Volume
from tasks.options import Split
from tasks.patch_options import Patches


@runtime_checkable
class Adapter(Protocol):
    """Reads one layout of files: a data set's own, or one of those that are ready for anybody's images."""

    @property
    def name(self) -> str:
        """The short name by which an entry asks for it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels in the order of the outputs; empty where there are none, or the files say them."""

    def read(self, root: Path, split: Split) -> Index:
        """Index the data set.

        Raises:
            DataError: With one sentence, for anything that the layout forbids.
        """

    def verify(self, root: Path, split: Split, *, published: bool, decode: bool) -> list[Finding]:
        """Check the files.

        Args:
            root: The data root.
            split: How cases are divided, for leaks between splits.
            published: Compare counts with the published ones.
            decode: Open every image.
        """

    def fingerprint(self, root: Path) -> str:
        """Return the digest of what numbers depend on: lists and label files, sorted (path, size) of the images."""


@runtime_checkable
class AdapterWithOptions(Adapter, Protocol):
    """An adapter with options of its own."""

    def with_options(self, options: Mapping[str, object]) -> Adapter:
        """Return the adapter with ``options.cohort.adapter`` of an entry.

        Raises:
            ConfigurationError: For an option or a value that it does not take.
        """


@runtime_checkable
class KnowsTestCases(Protocol):
    """An adapter of a data set whose test cases are in a public list.

    Where the cases read are these, and only there, a mean is compared with a paper's.
    """

    @property
    def test_cases(self) -> str:
        """Digest of the test cases' sorted names (``Index.split_hashes``)."""


@runtime_checkable
class VolumeAdapter(Adapter, Protocol):
    """An adapter of scans. A case is a patch; cases of one scan share its ``image`` in the index.

    A patch's middle is the point ``x_mm, y_mm, z_mm`` (LPS millimetres) of the index where it has these columns;
    otherwise it is drawn (``tasks.cohorts.patches.draw_centres``).
    """

    @property
    def hounsfield(self) -> bool:
        """Whether the scans are CT and hold air, which is checked."""

    @property
    def channels(self) -> int:
        """Channels of a scan."""

    def open(self, root: Path, image: str) -> Volume:
        """Read a scan, ``image`` as in the index: voxels ``(X, Y, Z)``, or ``(C, X, Y, Z)`` with several channels.

        Raises:
            DataError: If it cannot be read.
        """


@runtime_checkable
class MaskedVolumes(VolumeAdapter, Protocol):
    """An adapter of scans to segment; its index has ``masks``."""

    def open_mask(self, root: Path, image: str, volume: Volume) -> np.ndarray:
        """Return the foreground of a scan that ``open`` has read, bool ``(X, Y, Z)``.

        Raises:
            DataError: If it cannot be read, or does not fit the scan.
        """


@runtime_checkable
class CutsPatches(VolumeAdapter, Protocol):
    """An adapter that cuts the patches of its scans itself."""

    def cut(self, root: Path, cases: pd.DataFrame, patches: Patches) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield each case's patch, float32 in [0, 1] ``(*shape)``, and its mask, bool or None.

        Args:
            root: The data root.
            cases: Rows of the index that share one scan.
            patches: How they are cut.
        """


@runtime_checkable
class PretrainsOnScans(VolumeAdapter, Protocol):
    """An adapter whose whole scans are kept for pretraining in 3D."""

    def pretraining_scans(self, root: Path) -> pd.DataFrame:
        """Return one row a scan: ``case``, ``patient``, ``image`` and ``split``."""
