"""Says of real images at what scale they are used and of what they are a sample; made-up ones carry their stamp."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.descriptions import CohortDescription
from reports.render import wording


def setting(
    cohorts: Mapping[str, CohortDescription], tasks: Mapping[str, str], names: Iterable[str], *, brief: bool = False
) -> str:
    """Say scale and sample of tasks once, as it stands above a table or a figure.

    Args:
        cohorts: Task → what is told of its images; what its profile (``scale``) and its entry (``sample_note``) say.
        tasks: Registry name → label.
        names: The tasks that the table or figure is about, in its order.
        brief: In a few words, as it stands inside a picture: side in pixels, and size of a sample.

    Returns:
        Sentences, the scale first; empty where no task says anything.
    """
    scales: dict[str, list[str]] = {}
    samples: list[str] = []
    for name in dict.fromkeys(names):
        cohort = cohorts.get(name, CohortDescription())
        if cohort.synthetic:
            continue
        if brief:
            scales.setdefault(cohort.setting, []).append(tasks[name])
            continue
        scales.setdefault(cohort.scale, []).append(tasks[name])
        if cohort.sample_note:
            samples.append(f"{tasks[name]}: {cohort.sample_note}")
    scales.pop("", None)
    if brief:
        said = "; ".join(f"{text} ({', '.join(labels)})" for text, labels in scales.items())
        return f"Real images: {said}." if said else ""
    alone = len(scales) == 1
    parts = [text if alone else f"{text} ({'; '.join(labels)})" for text, labels in scales.items()]
    return " ".join(f"{part.rstrip('.')}." for part in (*parts, *samples))


def boxes_of(cohort: CohortDescription, label: str) -> str:
    """Say how many boxes a task has: ``Films has 49 annotated boxes on 44 images (43 Pneumonia, 6 Effusion)``.

    Args:
        cohort: What is told of its images.
        label: How the task is called.

    Returns:
        One sentence; empty where it has none.
    """
    counts = cohort.counts
    if not counts.boxes:
        return ""
    images = f" on {wording.counted(counts.boxed_images, 'image')}" if counts.boxed_images else ""
    by_class = sorted(counts.boxes_by_class.items(), key=lambda pair: (-pair[1], pair[0]))
    of_them = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in by_class)
    boxes = wording.counted(counts.boxes, "annotated box", "annotated boxes")
    return f"{label} has {boxes}{images}{f' ({of_them})' if of_them else ''}."
