"""The files under ``results/``: text and archives whose bytes depend on their content alone, written whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.store import files
from harness.store.files import writing
from harness.whole_files import write_whole

if TYPE_CHECKING:
    import numpy as np


def profile_folder(root: Path, profile: str) -> Path:
    """Return ``results/<profile>``."""
    return root / "results" / profile


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; an unchanged file is left alone."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a ``trials.csv``; values stay text, as written."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def parse_rows(text: str) -> list[dict[str, str]]:
    """Read the text of a CSV file; values stay text."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def table(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Write rows as CSV text; a row may leave columns out, and has no others."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """Read the bytes of an archive.

    Raises:
        ValueError: If they are none.
    """
    return files.read_arrays(io.BytesIO(content))


def archive(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write arrays as an archive whose bytes depend on them alone."""
    import numpy as np

    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **dict(sorted(arrays.items())))
    return stream.getvalue()
