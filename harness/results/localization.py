"""Evidence maps of the first repeat, kept for panels of the report."""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.plan import Plan
from harness.results.files import archive, profile_folder, read_arrays
from harness.results.shown import Terms, read_shown
from harness.results.standing import representing, trial_status
from harness.store import Store
from harness.store.committed import assembling, replace, standing_content

if TYPE_CHECKING:
    import numpy as np

SHOWN = 24  # annotated pairs of each class and task that a panel may be chosen from
REAL = ("shown", "shown_pair", "credit")  # real pictures, of which pairs, and whose
PER_PAIR = ("cams", "class", "rank", "positives", "overlap", "found")


def write_localization(plan: Plan, root: Path, store: Store, method: str) -> Path:
    """Write ``localization/<method>.npz``: evidence maps of the first repeat, for panels of the report.

    For each task, up to ``SHOWN`` annotated (image, class) pairs of each class, drawn by a hash of case and class and
    so the same for every method, with their map, boxes, logits and the rank of the image; and the image itself where a
    program made it. Real images never leave their data root, but for the few that ``tasks/shown.yaml`` allows, which
    the first method's file holds for all. The archive is empty for a method that was not localized.
    An entry of the file is kept where the store does not hold its trial or its images, provided that the entry is of
    the planned trial and that the file was not edited.
    """
    path = profile_folder(root, plan.profile) / "localization" / f"{method}.npz"
    with assembling(root):
        before: dict[str, np.ndarray] = {}
        with contextlib.suppress(OSError, ValueError, EOFError, zipfile.BadZipFile):  # one that is damaged is none
            before = read_arrays(standing_content(root, path) or b"")
        replace(root, path, archive(_localization(plan, store, method, before, read_shown(root))))
    return path


def _localization(
    plan: Plan, store: Store, method: str, before: Mapping[str, np.ndarray], shown: Mapping[str, Terms]
) -> dict[str, np.ndarray]:
    """Collect the evidence maps of a method, by task and name."""
    import numpy as np

    from harness.pixels import Pixels

    arrays: dict[str, np.ndarray] = {}
    for cell in plan.cells.values():
        first = min(cell.trials, key=lambda key: (key.pretrain_seed, key.repeat), default=None)
        if cell.key.method != method or cell.key.label_fraction != 1.0 or first is None:
            continue
        item, task = cell.trials[first], cell.key.task
        record = representing(store, "trial", item.id)
        cohort = store.ok("cohort", plan.cohorts[task].id)
        if record is None or not trial_status(record).scored or cohort is None:
            if str(before.get(f"{task}|trial_id", "")) == item.id:
                kept = {name: array for name, array in before.items() if name.startswith(f"{task}|")}
                gone = set() if task in shown else {f"{task}|{name}" for name in REAL}  # what is no longer allowed
                arrays |= {name: array for name, array in kept.items() if name not in gone}
            continue
        if "arrays.npz" not in record.files:
            continue
        stored = store.arrays(record)
        if "localization_cams" in stored:
            chosen = _shown_pairs(stored)
            rows = stored["localization_row"][chosen["image"]]
            if plan.tasks[task].synthetic:
                chosen["pixels"] = np.asarray(Pixels(store.folder(cohort)).images[rows])
            elif task in shown and method == _holder(plan, task):
                pairs = _pictured(chosen, shown[task].pictures)
                chosen["shown"] = np.asarray(Pixels(store.folder(cohort)).images[rows[pairs]])
                chosen["shown_pair"] = np.asarray(pairs, dtype=np.int32)
                chosen["credit"] = np.asarray(shown[task].credit)
            chosen["trial_id"] = np.asarray(item.id)
            arrays |= {f"{task}|{name}": array for name, array in chosen.items()}
    return arrays


def _holder(plan: Plan, task: str) -> str:
    """Name the method whose file holds a task's real pictures for all: the first of the plan that is judged on it."""
    cells = (cell.key for cell in plan.cells.values() if cell.trials)
    judged = {key.method for key in cells if key.task == task and key.label_fraction == 1.0}
    return next((name for name in plan.methods if name in judged), "")


def _pictured(chosen: Mapping[str, np.ndarray], count: int) -> list[int]:
    """Choose the pairs that may show their image: the first drawn of the class with the most pairs."""
    classes = [int(label) for label in chosen["class"]]
    most = max(dict.fromkeys(classes), key=classes.count, default=0)
    return [pair for pair, label in enumerate(classes) if label == most][:count]


def _shown_pairs(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what is kept of the pairs that may be shown, in the order of the draw within each class."""
    import numpy as np

    arrays = {name.removeprefix("localization_"): array for name, array in stored.items()}
    names = [name.decode() for name in arrays["class_names"]]
    cases = [case.decode() for case in arrays["case"]]

    def draw(pair: int) -> tuple[int, str]:
        label = int(arrays["class"][pair])
        return label, hashlib.sha256(f"{cases[arrays['image'][pair]]}|{names[label]}".encode()).hexdigest()

    order: list[int] = []
    taken: dict[int, int] = {}
    for pair in sorted(range(len(arrays["class"])), key=draw):
        label = int(arrays["class"][pair])
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= SHOWN:
            order.append(pair)
    image = arrays["image"][order]
    boxes = [np.flatnonzero(arrays["box_pair"] == pair) for pair in order]
    return {
        **{name: arrays[name][order] for name in PER_PAIR},
        "image": image,
        "case": arrays["case"][image],
        "logits": arrays["logits"][image].astype(np.float32),
        "class_names": arrays["class_names"],
        "side": arrays["side"],
        "boxes": arrays["boxes"][np.concatenate(boxes)] if boxes else arrays["boxes"][:0],
        "box_pair": np.repeat(np.arange(len(order), dtype=np.int32), [len(b) for b in boxes]),
    }
