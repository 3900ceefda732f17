"""Alterations of files, whatever is in them: where they lie, how they are called, whether they are whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.tasks.altered.judging import Alteration

Finder = Callable[[Path], list[Path]]


def matching(*patterns: str) -> Finder:
    """Return a function that lists the files of a data set that match."""
    return lambda root: sorted({path for pattern in patterns for path in root.rglob(pattern) if path.is_file()})


def one(paths: list[Path], generator: np.random.Generator) -> Path:
    """Draw a file."""
    return paths[int(generator.integers(len(paths)))]


def replace(path: Path, content: bytes) -> None:
    """Write a new file in a file's place: the old one may be a link to the pristine file."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def of_files(find: Finder) -> dict[str, Alteration]:
    """Return what can be done to the files that ``find`` lists."""

    def truncated(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        content = path.read_bytes()
        kept = int(len(content) * generator.choice([0.0, 0.1, 0.5, 0.9]))
        replace(path, content[:kept])
        return f"{path.name} cut to {kept} bytes"

    def missing(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        path.unlink()
        return f"{path.name} removed"

    def misnamed(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        path.rename(path.with_name(f"{generator.choice(['copy of ', 'x', '~'])}{path.name}"))
        return f"{path.name} renamed"

    def upper_case(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        stem, dot, ending = path.name.partition(".nii") if ".nii" in path.name else path.name.rpartition(".")
        path.rename(path.with_name(f"{stem}{(dot + ending).upper()}"))
        return f"{path.name} with its ending in capitals"

    def in_a_folder_of_its_name(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        path.rename(path.with_name("moving"))
        path.mkdir()
        path.with_name("moving").rename(path / path.name)
        return f"{path.name} in a folder of its name"

    def a_folder_in_its_place(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        path.unlink()
        path.mkdir()
        return f"an empty folder for {path.name}"

    def doubled(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        other = root / "again" / path.relative_to(root)
        other.parent.mkdir(parents=True)
        content = path.read_bytes()
        if generator.random() < 0.5:
            content = content[:-1]
        other.write_bytes(content)
        return f"{path.name} a second time, {'the same' if content == path.read_bytes() else 'cut'}"

    def linked(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        (root.parent / "elsewhere").mkdir()
        moved = root.parent / "elsewhere" / path.name
        path.rename(moved)
        path.symlink_to(moved if generator.random() < 0.7 else moved.with_name("nothing"))
        return f"{path.name} is a link"

    changes = (truncated, missing, misnamed, upper_case, in_a_folder_of_its_name, a_folder_in_its_place, doubled)
    return {change.__name__: change for change in (*changes, linked)}


def nested(root: Path, generator: np.random.Generator) -> str:
    """Put a folder of the data set into a folder of its own name, as unpacking does."""
    folder = one(sorted(path for path in root.rglob("*") if path.is_dir()), generator)
    folder.rename(folder.with_name("moving"))
    folder.mkdir()
    folder.with_name("moving").rename(folder / folder.name)
    return f"{folder.relative_to(root)} nested"


def deeper(root: Path, generator: np.random.Generator) -> str:
    """Put everything a folder or two below the root."""
    inside = root / str(generator.choice(["data", "archive/2", "manifest-1600709154662"]))
    content = list(root.iterdir())
    inside.mkdir(parents=True)
    for path in content:
        path.rename(inside / path.name)
    return f"everything in {inside.relative_to(root)}"


def litter(root: Path, generator: np.random.Generator) -> str:
    """Leave what machines leave."""
    for path in [path for path in root.rglob("*") if path.is_file()]:
        if generator.random() < 0.3:
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2")
    (root / "Thumbs.db").write_bytes(b"\0")
    (root / ".DS_Store").write_bytes(b"\0")
    shutil.copytree(root, root / "__MACOSX", ignore=lambda folder, names: [n for n in names if n == "__MACOSX"])
    return "litter of other machines"


def lines_of_another_system(*tables: str) -> Alteration:
    """End the lines of a table as Windows does, begin it with a mark of order, end it with an empty line."""

    def change(root: Path, generator: np.random.Generator) -> str:
        path = one(matching(*tables)(root), generator)
        content = path.read_bytes()
        kind = int(generator.integers(3))
        changed = [content.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + content, content + b"\n"][kind]
        replace(path, changed)
        return f"{path.name} with {['other line ends', 'a mark of order', 'an empty line'][kind]}"

    return change


def row(*tables: str) -> Alteration:
    """Take away cells of a row, or put a word where a number stands."""

    def change(root: Path, generator: np.random.Generator) -> str:
        path = one(matching(*tables)(root), generator)
        lines = path.read_text().splitlines()
        at = int(generator.integers(1, len(lines)))
        cells = lines[at].split(",")
        cell = int(generator.integers(len(cells)))
        cells[cell : cell + 1] = [] if generator.random() < 0.3 else [str(generator.choice(["word", "nan", "1e400"]))]
        replace(path, ("\n".join([*lines[:at], ",".join(cells), *lines[at + 1 :]]) + "\n").encode())
        return f"line {at + 1} of {path.name} is {','.join(cells)[:60]}"

    return change


ANYWHERE: dict[str, Alteration] = {"nested": nested, "deeper": deeper, "litter": litter}
