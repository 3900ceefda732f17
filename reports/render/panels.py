"""Chooses the images of Fig. 5 and 6 by a rule, and turns evidence maps into pictures. Never by looking.

From the pairs that ``harness.results.write_localization`` kept for both methods (drawn by a hash, the same for all):
those that both models predict, ordered by the difference of their overlaps (method − base); the one at the median is
shown. A model predicts a class on an image if its probability is at least a half, or if the image is among its n
likeliest of the test set for that class, where n is the number of test images that carry the label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from harness.errors import DataError
from harness.store.files import read_arrays

SIDE = 64  # of a drawn panel, pixels
GROUND = 235  # grey of a panel whose image stays in its data root
_NEEDED = (
    "cams", "class", "class_names", "case", "logits", "rank", "positives", "boxes", "box_pair", "overlap", "found",
)  # fmt: skip


@dataclass(frozen=True)
class Maps:
    """What one method left of one task; arrays as in ``tasks.scoring.localization.rescore``, one row a kept pair.

    Attributes:
        arrays: By name.
        shown: (Case, class) → image, of the few real ones that may be shown; one method's file holds them for all.
        credit: Whose images those are; printed wherever one is shown.
    """

    arrays: Mapping[str, np.ndarray]
    shown: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    credit: str = ""

    def __len__(self) -> int:
        return len(self.arrays["class"])

    @property
    def classes(self) -> list[str]:
        """The class of each pair."""
        names = [name.decode() for name in self.arrays["class_names"]]
        return [names[int(index)] for index in self.arrays["class"]]

    @property
    def cases(self) -> list[str]:
        """The hashed case of each pair."""
        return [case.decode() for case in self.arrays["case"]]

    @property
    def predicted(self) -> np.ndarray:
        """Whether the model predicts the class of each pair, bool."""
        own = self.arrays["logits"][np.arange(len(self)), self.arrays["class"].astype(int)]
        return np.asarray((own >= 0.0) | (self.arrays["rank"] <= self.arrays["positives"]))

    @property
    def has_images(self) -> bool:
        """Whether images stand beside the maps: all, where a program made them, or the few that may be shown."""
        return "pixels" in self.arrays or bool(self.shown)

    def image(self, pair: int) -> np.ndarray | None:
        """The image of a pair, uint8; None for one that stays in its data root."""
        if "pixels" in self.arrays:
            return np.asarray(self.arrays["pixels"][pair])
        return self.shown.get((self.cases[pair], self.classes[pair]))

    @property
    def eligible(self) -> list[int]:
        """Pairs that a figure may choose from: where a few images are shown, those alone."""
        names = list(zip(self.cases, self.classes, strict=True))
        return [i for i, name in enumerate(names) if not self.shown or name in self.shown]

    def boxes(self, pair: int) -> np.ndarray:
        """Real boxes of a pair, x₀, y₀, x₁, y₁ in fractions, ``(n, 4)``."""
        return np.asarray(self.arrays["boxes"][self.arrays["box_pair"] == pair])


@dataclass(frozen=True)
class Panel:
    """One column of a figure: one image under two models.

    Attributes:
        label: The class. chosen: ``median`` or ``random``.
        pair: Row in both ``Maps``; None if no kept pair of the class is predicted by both.
        eligible, kept: How many pairs both predict, and out of how many.
    """

    label: str
    chosen: str
    pair: int | None
    eligible: int
    kept: int


def read_maps(path: Path) -> dict[str, Maps]:
    """Read ``localization/<method>.npz``: task → maps; empty for a method that was not localized.

    Raises:
        DataError: If the archive cannot be read or lacks an array.
    """
    try:
        loaded = read_arrays(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); write it again with `dira-bench report`.") from error
    tasks: dict[str, dict[str, np.ndarray]] = {}
    for name, array in loaded.items():
        task, _, what = name.partition("|")
        tasks.setdefault(task, {})[what] = array
    for task, arrays in tasks.items():
        lacking = [name for name in _NEEDED if name not in arrays]
        if lacking:
            raise DataError(f"{path} lacks {', '.join(lacking)} of {task}; write it again with `dira-bench report`.")
    return {task: Maps(arrays) for task, arrays in tasks.items()}


def shared(maps: Mapping[str, Mapping[str, Maps]]) -> dict[str, dict[str, Maps]]:
    """Give every method the real images that one method's file holds for all.

    Args:
        maps: Method → task → maps, as read.
    """
    shown: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    credits: dict[str, str] = {}
    for tasks in maps.values():
        for task, own in tasks.items():
            if "shown" in own.arrays:
                pairs = [(own.cases[pair], own.classes[pair]) for pair in own.arrays["shown_pair"].astype(int)]
                shown[task] = dict(zip(pairs, own.arrays["shown"], strict=True))
                credits[task] = str(own.arrays["credit"])
    return {
        method: {
            task: replace(own, shown=shown.get(task, {}), credit=credits.get(task, "")) for task, own in tasks.items()
        }
        for method, tasks in maps.items()
    }


def comparable(method: Maps, base: Maps) -> bool:
    """Say whether two methods kept the same pairs: the same test images and boxes."""
    return method.classes == base.classes and method.cases == base.cases


def choose(method: Maps, base: Maps) -> list[Panel]:
    """Choose the panel of each class by the rule, in the order of the classes.

    Args:
        method: The maps of the method.
        base: Those of its reference, of the same pairs.
    """
    both = method.predicted & base.predicted
    classes, eligible_pairs = method.classes, method.eligible
    difference = method.arrays["overlap"].astype(float) - base.arrays["overlap"].astype(float)
    panels = []
    for label in dict.fromkeys(classes[i] for i in eligible_pairs):
        own = [i for i in eligible_pairs if classes[i] == label]
        eligible = sorted((i for i in own if both[i]), key=lambda i: (difference[i], i))
        pair = eligible[(len(eligible) - 1) // 2] if eligible else None
        panels.append(Panel(label, "median", pair, len(eligible), len(own)))
    return panels


def random_panel(maps: Maps) -> Panel:
    """Return the pair that a hash of case and class puts first, whatever any model makes of it."""
    names = list(zip(maps.cases, maps.classes, strict=True))
    pair = min(maps.eligible, key=lambda i: hashlib.sha256("|".join(names[i]).encode()).hexdigest())
    return Panel(names[pair][1], "random", pair, 0, len(names))


def spread_of_classes(panels: list[Panel], method: Maps, base: Maps, count: int) -> list[Panel]:
    """Keep ``count`` panels, evenly spaced from the class whose panel loses most to the one that gains most."""
    difference = method.arrays["overlap"].astype(float) - base.arrays["overlap"].astype(float)
    drawn = [(float(difference[panel.pair]), panel.label, panel) for panel in panels if panel.pair is not None]
    ranked = [panel for _, _, panel in sorted(drawn, key=lambda entry: entry[:2])]
    if len(ranked) <= count:
        return ranked
    return [ranked[round(i * (len(ranked) - 1) / (count - 1))] for i in range(count)]


def activation(cam: np.ndarray, side: int) -> np.ndarray:
    """ReLU, bilinear to ``side``, min–max: as boxes were made, float ``(side, side)`` in [0, 1]; 0 if constant."""
    positive = Image.fromarray(np.maximum(cam.astype(np.float32), 0.0))
    fine: np.ndarray = np.asarray(positive.resize((side, side), Image.Resampling.BILINEAR), dtype=float)
    low, high = fine.min(), fine.max()
    return (fine - low) / (high - low) if high > low else np.zeros((side, side))


def picture(maps: Maps, pair: int, colours: np.ndarray) -> np.ndarray:
    """Draw a pair's evidence over its image, uint8 ``(SIDE, SIDE, 3)``.

    Args:
        maps: Of one method.
        pair: Which row.
        colours: RGB in [0, 1] of 256 levels of evidence, ``(256, 3)``. Where there is none the image shows through.
    """
    level = activation(maps.arrays["cams"][pair], SIDE)
    image = maps.image(pair)
    if image is not None:
        grey = Image.fromarray(image)
        ground = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=float) / 255.0
    else:
        ground = np.full((SIDE, SIDE), GROUND / 255.0)
    weight = 0.7 * level[..., None]
    mixed = (1.0 - weight) * ground[..., None] + weight * colours[np.round(level * 255).astype(int)]
    drawn: np.ndarray = np.round(255.0 * np.clip(mixed, 0.0, 1.0)).astype(np.uint8)
    return drawn
