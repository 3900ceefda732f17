"""Files of the store: byte-stable arrays, what stands in a file's place, and the sentence for a full disk."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import stat
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError

if TYPE_CHECKING:
    import numpy as np

ARRAYS = "arrays.npz"
CURVE = "curve.jsonl"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # no space, over quota, over the file-size limit


def is_full(error: BaseException | None) -> bool:
    """Say whether an error, or one that led to it, means that a disk is full."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def resolve_full(path: Path) -> StoreError:
    """Build the error for a full disk: one sentence with the place and what to do."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(path if path.exists() else path.parent).free
        return StoreError(
            f"the disk that holds {path} is full ({free / 2**20:.0f} MiB free, or a quota is reached); "
            "nothing half-written counts: free some space and run the same command again, it resumes"
        )
    return StoreError(f"the disk that holds {path} is full: free some space and run the same command again, it resumes")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk, or a place that cannot be written, into one sentence.

    Raises:
        StoreError: For any operating-system error inside the block.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise resolve_full(path) from error
        raise StoreError(
            f"cannot write {path} ({error.strerror or error}): check that its folder is there and writable"
        ) from error


class Irregular(OSError):
    """A folder, a dead link, a loop of links or a pipe where a file belongs; the text says which."""


def read_regular(path: Path) -> bytes:
    """Read a file, and nothing but a file: a pipe would never end.

    Raises:
        Irregular: If something else has its name.
        FileNotFoundError: If nothing has.
        OSError: As the operating system says.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno != errno.EACCES and path.is_symlink():
            raise Irregular("is a link that leads to no file") from error
        raise
    if not stat.S_ISREG(mode):
        raise Irregular("is a folder" if stat.S_ISDIR(mode) else "is no ordinary file")
    return path.read_bytes()


def content_of(path: Path) -> bytes | None:
    """Read a file; None if it is absent.

    Raises:
        StoreError: If it is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path} ({error.strerror}): check its permissions and its disk") from error


def parse_json(data: bytes | str) -> Any:
    """Read JSON.

    Raises:
        ValueError: If it is none, or is nested too deeply.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def set_aside(path: Path) -> bool:
    """Rename what has a name that something else needs; nothing is lost. False if the place cannot be written."""
    try:
        path.rename(path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:8]}"))
    except OSError:
        return False
    return True


def make_way(root: Path, folder: Path) -> list[Path]:
    """Set aside whatever lies between ``root`` and ``folder``, it included, and is no folder; return what was."""
    parts = folder.relative_to(root).parts
    places = [root.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    return [place for place in places if os.path.lexists(place) and not place.is_dir() and set_aside(place)]


def remove(path: Path) -> bool:
    """Remove a file, a link or a whole folder; say whether it is gone."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return not os.path.lexists(path)
    return True


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays so that the same arrays are the same bytes: sorted names, a fixed date, no compression.

    Raises:
        TypeError: If an array holds Python objects, which only pickle could store.
    """
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            array = np.asarray(arrays[name])
            if array.dtype.hasobject:
                raise TypeError(f'array "{name}" holds Python objects; expected numbers, booleans or fixed-width text')
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)


def read_arrays(path: Path | io.BytesIO) -> dict[str, np.ndarray]:
    """Read what ``write_arrays`` wrote; never unpickles.

    Raises:
        ValueError: If it is no archive of arrays, or an empty file.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:  # empty, torn, one array
        where = path if isinstance(path, Path) else "it"
        raise ValueError(f"{where} is no archive of arrays ({error}); expected what numpy.savez writes") from error


def plain(value: object) -> object:
    """Reduce NumPy scalars, arrays and paths to what JSON holds; the ``default`` of ``json.dumps``."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__qualname__} {value!r} is not JSON; leave numbers, text, lists and mappings")


def json_line(value: object) -> str:
    """Write one value as one line of JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, default=plain, ensure_ascii=True)
