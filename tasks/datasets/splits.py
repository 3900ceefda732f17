"""Splits by patient, drawn with a seed and independent of file system order."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def draw_patients(patients: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Return ``round(fraction · n)`` of the distinct patients, at least one.

    Patients are sorted first, so neither the file system nor a mirror's order of rows reaches the draw.
    """
    ordered = sorted(set(patients))
    count = max(1, round(fraction * len(ordered)))
    generator = np.random.Generator(np.random.PCG64(seed))
    return {ordered[i] for i in generator.permutation(len(ordered))[:count]}
