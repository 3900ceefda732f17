"""Says of real images at what scale they are used and of what they are a sample; made-up ones carry their stamp."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.statistics.trials import setting_of


def setting(
    cohorts: Mapping[str, Mapping[str, Any]], tasks: Mapping[str, str], names: Iterable[str], *, brief: bool = False
) -> str:
    """Say scale and sample of tasks once, as it stands above a table or a figure.

    Args:
        cohorts: Task → ``cohorts/<task>.json``; what its profile (``scale``) and its entry (``sample_note``) say.
        tasks: Registry name → label.
        names: The tasks that the table or figure is about, in its order.
        brief: In a few words, as it stands inside a picture: side in pixels, and size of a sample.

    Returns:
        Sentences, the scale first; empty where no task says anything.
    """
    scales: dict[str, list[str]] = {}
    samples: list[str] = []
    for name in dict.fromkeys(names):
        cohort = cohorts.get(name, {})
        if cohort.get("synthetic"):
            continue
        if brief:
            scales.setdefault(f"Real images: {words}" if (words := setting_of(cohort)) else "", []).append(tasks[name])
            continue
        scales.setdefault(str(cohort.get("scale") or ""), []).append(tasks[name])
        if note := str(cohort.get("sample_note") or ""):
            samples.append(f"{tasks[name]}: {note}")
    scales.pop("", None)
    alone = len(scales) == 1 and not brief
    parts = [text if alone else f"{text} ({'; '.join(labels)})" for text, labels in scales.items()]
    return " ".join(f"{part.rstrip('.')}." for part in (*parts, *samples))


def boxes_of(cohort: Mapping[str, Any], label: str) -> str:
    """Say how many boxes a task has: ``Films has 49 annotated boxes on 44 images (43 Pneumonia, 6 Effusion)``.

    Args:
        cohort: ``cohorts/<task>.json``.
        label: How the task is called.

    Returns:
        One sentence; empty where it has none.
    """
    counts = cohort.get("counts") or {}
    if not counts.get("boxes"):
        return ""
    images = f" on {counts['boxed_images']} images" if counts.get("boxed_images") else ""
    by_class = sorted((counts.get("boxes_by_class") or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    of_them = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in by_class)
    return f"{label} has {counts['boxes']} annotated boxes{images}{f' ({of_them})' if of_them else ''}."
