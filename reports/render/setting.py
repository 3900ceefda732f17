"""Says of real images at what scale they are used and of what they are a sample; made-up ones carry their stamp."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def setting(
    cohorts: Mapping[str, Mapping[str, Any]], tasks: Mapping[str, str], names: Iterable[str], *, brief: bool = False
) -> str:
    """Say scale and sample of tasks once, as it stands above a table or a figure.

    Args:
        cohorts: Task → ``cohorts/<task>.json``; ``scale`` and ``sample_note`` are read.
        tasks: Registry name → label.
        names: The tasks that the table or figure is about, in its order.
        brief: Of a sample its size alone, as it stands inside a picture.

    Returns:
        ``Real images at 64 px. ChestX-ray14: sample of 1,000; chosen by label.``; empty where no task says anything.
    """
    scales: dict[str, list[str]] = {}
    samples: list[str] = []
    for name in dict.fromkeys(names):
        cohort = cohorts.get(name, {})
        if cohort.get("synthetic"):
            continue
        if scale := str(cohort.get("scale") or ""):
            scales.setdefault(scale, []).append(tasks[name])
        if note := str(cohort.get("sample_note") or ""):
            samples.append(f"{tasks[name]}: {(note.partition(';')[0] if brief else note).strip().rstrip('.')}.")
    if len(scales) == 1:
        parts = [f"Real images at {next(iter(scales))}."]
    else:
        parts = [f"Real images at {scale}: {', '.join(labels)}." for scale, labels in scales.items()]
    return " ".join((*parts, *samples))


def boxes_of(cohort: Mapping[str, Any], label: str) -> str:
    """Say how many boxes a task has: ``49 boxes on 44 images, 43 of them Pneumonia``; empty where it has none.

    Args:
        cohort: ``cohorts/<task>.json``.
        label: How the task is called.
    """
    counts = cohort.get("counts") or {}
    if not counts.get("boxes"):
        return ""
    images = f" on {counts['boxed_images']} images" if counts.get("boxed_images") else ""
    by_class = sorted((counts.get("boxes_by_class") or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    of_them = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in by_class)
    return f"{label} has {counts['boxes']} annotated boxes{images}{f' ({of_them})' if of_them else ''}."
