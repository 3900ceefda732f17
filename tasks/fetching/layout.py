"""From source files to the layout of the data root: nih/, mednist/, covid_chestxray/, pneumoniamnist/."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from harness.errors import DataError
from tasks.fetching import pictures
from tasks.fetching.clones import Watch
from tasks.fetching.facts import Facts, Package, PackageFile
from tasks.fetching.sources import Original, Tree, members, package_file, unpacked

PLAIN = re.compile(r"[A-Za-z0-9_]+\.(png|jpe?g)")  # a source's name that becomes one of ours
NO_DERIVATIVES = re.compile(r"\bND\b|no[\s-]*deriv", re.IGNORECASE)
TOLERANCE = 0.5  # grey levels, between the means of reduced images here and in the table of facts
KEPT = ("patientid", "offset", "sex", "age", "finding", "view", "license")  # of the table: no notes, places, dates
METADATA = ("filename", *KEPT, "lung_mask", "width", "height", "mode")


class Row(NamedTuple):
    """A line of SOURCES.csv: a file of the data root, one of its sources, and both SHA-256."""

    file: str
    repository: str
    commit: str
    source_path: str
    source_sha256: str
    sha256: str


class Building:
    """A data root under construction.

    Attributes:
        root: Where it is built.
        rows: What SOURCES.csv will say.
        left_out: Reason → how many images were left out for it.
    """

    def __init__(self, root: Path, watch: Watch) -> None:
        """Begin with nothing."""
        self.root, self._watch = root, watch
        self.rows: list[Row] = []
        self.left_out: dict[str, int] = {}

    def put(self, file: str, data: bytes, *originals: Original) -> None:
        """Write a file that was made of some originals."""
        place = self.root / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        made = hashlib.sha256(data).hexdigest()
        self.rows += [Row(file, one.origin, one.commit, one.path, one.sha256, made) for one in originals]

    def watch(self, what: str, done: int, total: int) -> None:
        """Say how far a folder is."""
        self._watch(what, done / max(1, total))


def build(trees: Mapping[str, Tree], facts: Facts, building: Building) -> None:
    """Write all four folders.

    Raises:
        DataError: If a source is not as the facts say.
        Unavailable: If the package is not there.
    """
    labels, boxes, masks = (package_file(facts.package, one) for one in _files(facts.package))
    _nih(trees["nih"], facts, (labels, boxes), building)
    _mednist(trees["mednist"], facts, building)
    _covid_chestxray(trees["covid_chestxray"], facts, members(masks, facts.largest), building)
    _pneumoniamnist(trees["pneumonia"], trees["normal"], facts, building)


def check_package(package: Package) -> None:
    """Find out early, before anything is fetched, whether the package is there and what it should be."""
    for file in _files(package):
        package_file(package, file)


def _files(package: Package) -> tuple[PackageFile, PackageFile, PackageFile]:
    return package.labels, package.boxes, package.masks


def _nih(tree: Tree, facts: Facts, tables: tuple[Original, Original], building: Building) -> None:
    """Reduce the images to a square; keep some as published; keep their rows of the label and box files."""
    paths = [path for folder in facts.nih.folders for path in tree.names(folder)]
    means = []
    for number, original in enumerate(tree.read(paths), 1):
        reduced = pictures.png(pictures.square(pictures.opened(original), facts.nih.side))
        building.put(f"nih/images/{_plain(original)}", reduced, original)
        if original.name in facts.nih.originals:
            building.put(f"nih/originals/{original.name}", original.data, original)
        means.append(pictures.mean(reduced))
        building.watch("nih", number, len(paths))
    _check_mean("nih/images", means, facts.nih.mean)
    names = {path.rpartition("/")[2] for path in paths}
    for table in tables:
        text = _rows_of(table, names)
        building.put(f"nih/{table.name.removesuffix('.gz')}", text.encode(), table)
    _check_labelled(building.root / "nih" / tables[0].name.removesuffix(".gz"), names)


def _rows_of(table: Original, names: set[str]) -> str:
    """Return the header and the rows whose first cell is one of some names, each as long as the header."""
    header, *rows = csv.reader(io.StringIO(unpacked(table)))
    kept = [row + [""] * (len(header) - len(row)) for row in rows if row and row[0] in names]
    return _table([header, *kept])


def _table(rows: Iterable[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _check_labelled(path: Path, names: set[str]) -> None:
    with path.open(newline="") as stream:
        bare = names - {row[0] for row in csv.reader(stream)}
    if bare:
        raise DataError(
            f"{len(bare)} images have no label row, {min(bare)} first; expected one row each in {path.name}."
        )


def _mednist(tree: Tree, facts: Facts, building: Building) -> None:
    """Copy every so manieth file of each modality, unchanged."""
    chosen = [
        path
        for name, share in facts.mednist.classes.items()
        for path in tree.names(f"{facts.mednist.folder}/{name}")[:: share.every][: share.at_most]
    ]
    for number, original in enumerate(tree.read(chosen), 1):
        modality = original.path.split("/")[-2]
        building.put(f"mednist/{modality}/{_plain(original)}", original.data, original)
        building.watch("mednist", number, len(chosen))


def _covid_chestxray(tree: Tree, facts: Facts, masks: Mapping[str, Original], building: Building) -> None:
    """Reduce frontal radiographs whose licence allows it, and the masks drawn on them; shorten the table."""
    chosen = facts.covid_chestxray
    table = tree.one("metadata.csv")
    rows = _chosen_rows(table, facts, building)
    written, means, of_masks = [], [], []
    for number, (row, original) in enumerate(
        zip(rows, tree.read(f"images/{row['filename']}" for row in rows), strict=True)
    ):
        picture = pictures.opened(original)
        small = pictures.shorter_side(picture, chosen.side)
        data = pictures.jpeg(small, chosen.quality)
        building.put(f"covid_chestxray/images/{number:04d}.jpg", data, original)
        means.append(pictures.mean(data))
        drawn = masks.get(row["filename"])
        if drawn is not None:
            data = pictures.png(pictures.mask(pictures.opened(drawn), small.size))
            building.put(f"covid_chestxray/lung_masks/{number:04d}.png", data, drawn)
            of_masks.append(pictures.mean(data))
        written.append(_metadata(row, number, picture.size, picture.mode, masked=drawn is not None))
        building.watch("covid_chestxray", number + 1, len(rows))
    if len(of_masks) != chosen.masks:
        raise DataError(
            f"found masks of {len(of_masks)} radiographs; expected {chosen.masks}; this is another package."
        )
    building.put("covid_chestxray/metadata.csv", _table([METADATA, *written]).encode(), table)
    _check_mean("covid_chestxray/images", means, chosen.mean)
    _check_mean("covid_chestxray/lung_masks", of_masks, chosen.masks_mean)


def _chosen_rows(table: Original, facts: Facts, building: Building) -> list[dict[str, str]]:
    """Return the rows of frontal radiographs that may be reduced and are not too large, in the table's order."""
    chosen = facts.covid_chestxray
    rows = list(csv.DictReader(io.StringIO(table.data.decode("utf-8-sig"))))
    needed = {"filename", "modality", "folder", *KEPT}
    if not rows or not needed <= set(rows[0]):
        lacking = sorted(needed - set(rows[0] if rows else ()))
        raise DataError(f"{table.path} of {table.origin} lacks {', '.join(lacking)}; expected those columns.")
    frontal = [row for row in rows if row["modality"] == chosen.modality and row["view"] in chosen.views]
    allowed = [row for row in frontal if not NO_DERIVATIVES.search(row["license"])]
    kept = [row for row in allowed if row["filename"] not in chosen.left_out]
    building.left_out["under a licence without derivatives"] = len(frontal) - len(allowed)
    building.left_out[f"of more than {facts.largest:,} bytes"] = len(allowed) - len(kept)
    return kept


def _metadata(row: Mapping[str, str], number: int, size: tuple[int, int], mode: str, *, masked: bool) -> list[str]:
    """Return a row of the short table: no notes, no places, no dates."""
    age = str(float(row["age"])) if row["age"] else ""
    mask = f"{number:04d}.png" if masked else ""
    kept = [age if name == "age" else row[name] for name in KEPT]
    return [f"{number:04d}.jpg", *kept, mask, str(size[0]), str(size[1]), mode]


def _pneumoniamnist(pneumonia: Tree, normal: Tree, facts: Facts, building: Building) -> None:
    """Put the published split together: val and test of one copy, train of the normals of the other and its rest."""
    chosen = facts.pneumoniamnist
    originals = pneumonia.one(chosen.pneumonia), normal.one(chosen.normal)
    whole, balanced = (_arrays(one) for one in originals)
    parts = [(balanced, 0), (whole, 1)]
    images = np.concatenate([one["train_images"][one["train_labels"].ravel() == label] for one, label in parts])
    labels = np.concatenate([one["train_labels"][one["train_labels"].ravel() == label] for one, label in parts])
    order = np.random.default_rng(chosen.seed).permutation(len(images))
    arrays = {"train_images": images[order], "train_labels": labels[order]}
    arrays |= {
        f"{split}_{what}": whole[f"{split}_{what}"] for split in ("val", "test") for what in ("images", "labels")
    }
    for split, counts in chosen.counts.items():
        found = tuple(int((arrays[f"{split}_labels"] == label).sum()) for label in (0, 1))
        if found != counts:
            raise DataError(f"pneumoniamnist {split} has {found} images without and with pneumonia; expected {counts}.")
    stream = io.BytesIO()
    np.savez_compressed(stream, **cast("dict[str, Any]", arrays))
    building.put("pneumoniamnist/pneumoniamnist.npz", stream.getvalue(), *originals)
    building.watch("pneumoniamnist", 1, 1)


def _arrays(original: Original) -> dict[str, np.ndarray]:
    needed = [f"{split}_{what}" for split in ("train", "val", "test") for what in ("images", "labels")]
    try:
        with np.load(io.BytesIO(original.data), allow_pickle=False) as found:
            return {name: found[name] for name in needed}
    except (ValueError, OSError, KeyError) as error:
        raise DataError(
            f"{original.path} of {original.origin} is no such archive ({error}); expected {needed}."
        ) from None


def _plain(original: Original) -> str:
    if not PLAIN.fullmatch(original.name):
        raise DataError(
            f"found the file {original.path!r} in {original.origin}; expected a name of letters, digits and _ that "
            "ends in .png or .jpeg; this is another repository."
        )
    return original.name


def _check_mean(folder: str, means: Sequence[float], expected: float) -> None:
    """Refuse pictures that were reduced otherwise: another filter, another conversion to grey."""
    found = float(np.mean(means)) if means else float("nan")
    if not abs(found - expected) <= TOLERANCE:
        raise DataError(
            f"the mean grey level of {folder} is {found:.2f}; expected {expected:.2f} ± {TOLERANCE}; the installed "
            "Pillow reduces otherwise: install the version of requirements.txt."
        )
