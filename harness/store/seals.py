"""Seals: what a record, and a trial's rows in a results file, say about their own content.

A seal is a SHA-256 over everything else that stands beside it. It shows that a number was edited, and which; it is no
signature: whoever edits a number can compute the seal anew. What else vouches for a committed file is told in
``harness.store.committed``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

SEAL = "seal"


def record_seal(document: Mapping[str, object]) -> str:
    """Return the seal of a record, 64 hexadecimal digits.

    Args:
        document: The record as JSON values; its own ``seal`` does not count.
    """
    return seal_of({key: value for key, value in document.items() if key != SEAL})


def seal_of(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of JSON values, 64 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
