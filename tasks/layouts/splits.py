"""Splits by patient, drawn with a seed and independent of file system order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from harness.errors import DataError
from tasks.options import Split

FEWEST = 5  # patients that can be divided in three


def draw_patients(patients: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Return ``round(fraction · n)`` of the distinct patients, at least one.

    Patients are sorted first, so neither the file system nor a mirror's order of rows reaches the draw.

    Example:
        >>> drawn = draw_patients(["p1", "p2", "p3", "p4", "p4"], fraction=0.5, seed=99)
        >>> len(drawn), drawn == draw_patients(["p4", "p3", "p2", "p1"], 0.5, 99)
        (2, True)
    """
    ordered = sorted(set(patients))
    count = max(1, round(fraction * len(ordered)))
    generator = np.random.Generator(np.random.PCG64(seed))
    return {ordered[i] for i in generator.permutation(len(ordered))[:count]}


def draw_splits(patients: Sequence[str], split: Split, what: str) -> tuple[list[str], str]:
    """Divide the patients of a data set at random: test first, then validation of the rest.

    Args:
        patients: The patient of each case.
        split: Fractions and seed; its rule is ``random``.
        what: The data set, for the message.

    Returns:
        The split of each case, and the rule in words.

    Raises:
        DataError: If there are too few patients for the fractions.
    """
    distinct = set(patients)
    fraction = split.test_fraction or 0.0
    test = draw_patients(distinct, fraction, split.seed) if distinct else set()
    validation = draw_patients(distinct - test, split.validation_fraction, split.seed + 1) if distinct - test else set()
    if len(distinct) < FEWEST or not distinct - test - validation:
        raise DataError(
            f"{what} has {len(distinct)} patients, of which {len(test)} are drawn for test and {len(validation)} for "
            f"validation; expected at least {FEWEST} and some left to train on; add images, or correct the fractions "
            "in options.cohort.split"
        )
    rule = (
        f"{fraction:.0%} of the patients for test, then {split.validation_fraction:.0%} of the rest for validation, "
        f"drawn with seed {split.seed}"
    )
    return ["test" if p in test else "validation" if p in validation else "train" for p in patients], rule


def held_by_name(name: str, fraction: float, seed: int) -> bool:
    """Say whether a name is among the share that is held out; it does not depend on which others there are.

    Example:
        >>> held_by_name("p1", 1.0, 7), held_by_name("p1", 0.0, 7)
        (True, False)
    """
    first = hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]
    return int.from_bytes(first, "big") < fraction * 2**64
