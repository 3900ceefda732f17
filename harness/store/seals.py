"""Seals: what a record, and a trial's rows in a results file, say about their own content.

A seal is a SHA-256 over everything else that stands beside it. It shows that a number was edited, and which; it is no
signature: whoever edits a number can compute the seal anew. What else vouches for a committed file is told in
``harness.store.committed``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

SEAL = "seal"
ROW_DIGITS = 16  # of a trial's seal in a results file: 64 bits, so that the file stays readable
SHARED = ("method", "task", "label_fraction", "pretrain_seed", "repeat", "status", "cohort", "trial_id")


def record_seal(document: Mapping[str, Any]) -> str:
    """Return the seal of a record, 64 hexadecimal digits.

    Args:
        document: The record as JSON values; its own ``seal`` does not count.
    """
    return _digest({key: value for key, value in document.items() if key != SEAL})


def trial_seal(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the seal of one trial in ``trials/<method>.csv``, over the text of all its rows, in any order.

    Args:
        rows: Every row of the trial, as text by column; they share all columns but ``metric`` and ``value``.
    """
    shared = {column: rows[0][column] for column in SHARED}
    return _digest({**shared, "values": sorted([row["metric"], row["value"]] for row in rows)})[:ROW_DIGITS]


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
