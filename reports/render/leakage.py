"""What the report says of test images that pretraining has seen: how many, and what leaving them out changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.descriptions import PretrainingDescription
from harness.results.leakage import Leak
from harness.statistics.schema import Comparison


@dataclass(frozen=True)
class SharedImages:
    """One pretraining cohort and one task.

    Attributes:
        pretraining, task: Registry names.
        test, everything: ``22 of 210 (10.5 %)``: of the test images, and of all that were compared; empty if none were.
        below: Highest correlation of an image without a twin; None where each has one.
        threshold: Correlation above which two images are twins.
    """

    pretraining: str
    task: str
    test: str
    everything: str
    below: float | None
    threshold: float


def shared_pairs(leaks: Sequence[Leak]) -> list[SharedImages]:
    """Bring the splits of each pair of cohorts together, in the order of the table."""
    pairs: dict[tuple[str, str], list[Leak]] = {}
    for leak in leaks:
        pairs.setdefault((leak.pretraining_cohort, leak.task), []).append(leak)
    return [
        SharedImages(
            pretraining,
            task,
            _share([row for row in rows if row.split == "test"]),
            _share(rows),
            max((row.below for row in rows if row.below is not None), default=None),
            rows[0].threshold,
        )
        for (pretraining, task), rows in pairs.items()
    ]


def _share(rows: Sequence[Leak]) -> str:
    images, having = sum(row.images for row in rows), sum(row.with_twin for row in rows)
    return f"{having} of {images} ({having / images * 100:.1f} %)" if images else ""


def without_twins(
    leaks: Sequence[Leak], contrasts: Sequence[Comparison], pretraining: Mapping[str, PretrainingDescription]
) -> list[Comparison]:
    """Return the contrasts of two methods of the same phases, one of which alone was pretrained without twins.

    Args:
        leaks: What was counted.
        contrasts: Every contrast.
        pretraining: Method → what is told of its pretraining.
    """
    seen: dict[str, int] = {}
    for leak in leaks:
        seen[leak.pretraining_cohort] = seen.get(leak.pretraining_cohort, 0) + leak.with_twin

    def reported(method: str) -> tuple[list[str], bool | None]:
        """Return a method's phases, and whether it has seen twins; None where nobody counted."""
        found = pretraining.get(method)
        if found is None:
            return [], None
        cohorts, phases = found.cohorts, [phase.name for phase in found.phases]
        counted = bool(cohorts) and all(name in seen for name in cohorts)
        return phases, any(seen[name] for name in cohorts) if counted else None

    kept = []
    for contrast in contrasts:
        (ours, saw), (theirs, reference_saw) = reported(contrast.method), reported(contrast.reference)
        if ours == theirs and None not in (saw, reference_saw) and saw != reference_saw:
            kept.append(contrast)
    return kept
