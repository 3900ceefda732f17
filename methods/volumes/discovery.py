"""Self-discovery, a step of its own: from whole scans to cubes with the number of their visual word.

What it leaves serves every method that learns from the same words, so it is done once. The folder holds ``cubes.npy``
``(N, X, Y, Z)`` in the scans' own type, ``cubes.csv`` (row, word, scan, case, patient, split, resolution, x, y, z),
``features.npy`` ``(M, F)`` and, for people, ``words.png`` and ``words.html``: what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import JsonValue

from harness.contracts import Context, Outcome
from harness.identity import file_sha256
from harness.seeding import seed as seed_of
from methods.phases import DiscoverySpec, WordRules
from methods.volumes.autoencoder import learn_features
from methods.volumes.scans import Scans
from methods.volumes.words import Box, Word, boxes, cut, find_words
from methods.volumes.words_report import write_page

CUBES, TABLE = "cubes.npy", "cubes.csv"


def run_phase(raw: Mapping[str, object], context: Context) -> Outcome:
    """Discover words (``harness.contracts.Work``).

    Args:
        raw: ``methods.phases.DiscoverySpec``, dumped.
        context: See ``harness.contracts.Context``.

    Returns:
        Value ``validation_loss`` of the autoencoder (its lowest), facts (counts, digests, where each word is), the
        autoencoder's curve.

    Raises:
        DataError: If the cohort has no whole scans, too few, or no place for a word.
    """
    spec = DiscoverySpec.model_validate(raw)
    rules = spec.configuration.words
    scans = Scans(Path(context.inputs[spec.cohort]))
    training, validation = scans.rows("train"), scans.rows("validation")
    features, curve = learn_features(
        scans, training, validation, spec.configuration, seed_of(spec.seed, "autoencoder"), context
    )
    words = find_words(scans, features, training, validation, rules, seed_of(spec.seed, "words"))
    table = list_cubes(scans, words, rules, seed_of(spec.seed, "resolutions"))
    write_cubes(context.folder, scans, table, rules.cube)
    np.save(context.folder / "features.npy", features)
    write_page(context.folder, words, table, np.load(context.folder / CUBES, mmap_mode="r"))
    counts = table.groupby("split").size()
    facts: dict[str, JsonValue] = {
        "phase": spec.phase,
        "words": [
            {"scan": str(scans.table["case"].loc[word.reference]), "corner": list(word.corner)} for word in words
        ],
        "cubes": {split: int(counts.get(split, 0)) for split in ("train", "validation")},
        "scans": {"train": len(training), "validation": len(validation)},
        "epochs": len(curve),
        "cubes_sha256": file_sha256(context.folder / CUBES),
        "features_sha256": file_sha256(context.folder / "features.npy"),
        "images_seen": 0,
    }
    lowest = min((row["validation_autoencoder"] for row in curve), default=float("nan"))
    return Outcome(values={"validation_loss": lowest}, facts=facts, curve=curve)


def list_cubes(scans: Scans, words: list[Word], rules: WordRules, seed: int) -> pd.DataFrame:
    """List every cube: of each word in each of its scans, training ones at several resolutions.

    A scan that is too small to hold a word's place is left out.

    Returns:
        A row a cube: ``row``, ``word``, ``scan`` (row of the scan), ``case``, ``patient``, ``split``, ``resolution``
        (0 is the cube's own), ``x``, ``y``, ``z`` and ``sides``.
    """
    of_scan = scans.table.set_index("row")
    listed: list[dict[str, object]] = []
    for number, word in enumerate(words):
        for split, rows in (("train", word.training), ("validation", word.validation)):
            more = rules.more_resolutions if split == "train" else 0
            for scan in rows:
                generator = np.random.Generator(np.random.PCG64(seed_of(seed, number, scan)))
                for resolution, box in enumerate(boxes(scans[scan].shape, word.corner, rules.cube, more, generator)):
                    listed.append(
                        {
                            "row": len(listed),
                            "word": number,
                            "scan": scan,
                            "case": of_scan.loc[scan, "case"],
                            "patient": of_scan.loc[scan, "patient"],
                            "split": split,
                            "resolution": resolution,
                            **dict(zip("xyz", box.corner, strict=True)),
                            "sides": "x".join(map(str, box.sides)),
                        }
                    )
    return pd.DataFrame(listed)


def write_cubes(folder: Path, scans: Scans, table: pd.DataFrame, cube: tuple[int, int, int]) -> None:
    """Cut every listed cube into ``cubes.npy``, in the scans' type, and write the table."""
    stored = scans[int(table["scan"].iloc[0])].dtype
    whole = np.lib.format.open_memmap(folder / CUBES, mode="w+", dtype=stored, shape=(len(table), *cube))
    corners = table[["x", "y", "z"]].to_numpy(dtype=np.int64).tolist()
    for row, scan, corner, sides in zip(table["row"], table["scan"], corners, table["sides"], strict=True):
        x, y, z = corner
        across, down, deep = (int(side) for side in str(sides).split("x"))
        found = cut(scans[int(scan)], Box((x, y, z), (across, down, deep)), cube)
        whole[int(row)] = np.rint(found * 255) if stored == np.uint8 else found
    whole.flush()
    table.to_csv(folder / TABLE, index=False, lineterminator="\n")
