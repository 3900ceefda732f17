"""The disk that real images need once they are decoded, said before the first of them is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.cli.session import Session, say
from harness.dotted import import_dotted
from harness.errors import DataError


def needs(session: Session, tasks: Iterable[str]) -> dict[str, int]:
    """Return task → bytes of its cohort, for those of real files that are not decoded yet and can be."""
    plan, roots = session.plan, session.registry.data_roots
    found: dict[str, int] = {}
    for task in tasks:
        resolved, item = plan.tasks[task], plan.cohorts.get(task)
        if item is None or resolved.unavailable or resolved.no_images or task not in roots:
            continue
        if resolved.of_cohort.source == "phantom" or session.store.ok("cohort", item.id) is not None:
            continue
        ask: Callable[..., int] = import_dotted("tasks.inspection:bytes_needed")
        try:
            found[task] = ask(resolved.cohort, roots[task])
        except DataError:
            continue  # the verifier says so, in full
    return found


def print_needs(session: Session, found: dict[str, int]) -> None:
    """Write what is needed, in all and by task, and what is free."""
    if not found:
        return
    words: Callable[[int], str] = import_dotted("tasks.cohorts.need:gigabytes")
    place, total = session.store.cohorts, sum(found.values())
    free = shutil.disk_usage(_existing(place)).free
    parts = ", ".join(f"{task} {words(count)}" for task, count in sorted(found.items()))
    say(
        f"disk: decoded images alone will take {words(total)} in {place} ({parts}); {words(free)} are free; "
        "checkpoints and trials come on top",
        2,
    )
    if total > free:
        say(
            "note: that is more than is free; free some, or make .cohorts a link to a folder on a larger disk",
            2,
        )


def refuse_without_room(session: Session, task: str, found: dict[str, int]) -> None:
    """Refuse to decode what the disk cannot hold.

    Raises:
        DataError: So; what an interrupted attempt left is not needed again.
    """
    if task in found:
        refuse = import_dotted("tasks.cohorts.need:require_room")
        occupied = import_dotted("tasks.cohorts.need:occupied")
        id = session.plan.cohorts[task].id
        places = (session.store.root / "resume" / id, session.store.cohorts / id / "unfinished")
        refuse(task, found[task], _existing(session.store.cohorts), sum(occupied(place) for place in places))


def _existing(place: Path) -> Path:
    return next(folder for folder in (place, *place.parents) if folder.exists())
