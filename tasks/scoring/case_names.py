"""Names of cases as they are stored: hashed, because a name may say who a patient is. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

DIGITS = 16  # hexadecimal ones of the SHA-256


def hash_names(cases: Iterable[str]) -> np.ndarray:
    """Return the first digits of the SHA-256 of each name, bytes ``(N,)``."""
    return np.array([hashlib.sha256(case.encode()).hexdigest()[:DIGITS] for case in cases], dtype=f"S{DIGITS}")
