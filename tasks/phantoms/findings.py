"""Fourteen findings painted into an analytic thorax: a distinct local pattern for each, with a known box.

Where the data set has boxes (eight classes), place and size of a finding are drawn from normal distributions fitted to
the 984 boxes of ``BBox_List_2017.csv``: distance of the centre from the midline, its height, and the logarithms of
width and height, all in fractions of the image. The box that is written is the box of what was really painted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.phantoms.elementary import exp, power
from tasks.phantoms.thorax import Build, Thorax, smooth_noise, smooth_step


@dataclass(frozen=True)
class Boxes:
    """Mean and standard deviation of a class's real boxes, fractions of the image.

    Attributes:
        left: Share of centres on the image's right half, the patient's left.
        off: Distance of the centre from the midline. y: Centre from the top.
        log_width, log_height: Natural logarithms.
    """

    left: float
    off: tuple[float, float]
    y: tuple[float, float]
    log_width: tuple[float, float]
    log_height: tuple[float, float]


REAL_BOXES = {  # fitted to BBox_List_2017.csv: 180, 153, 123, 85, 79, 120, 98 boxes; Cardiomegaly's 146 are the heart's
    "Atelectasis": Boxes(0.50, (0.195, 0.084), (0.568, 0.115), (-1.71, 0.55), (-2.12, 0.51)),
    "Effusion": Boxes(0.49, (0.266, 0.077), (0.561, 0.119), (-1.66, 0.54), (-1.40, 0.72)),
    "Infiltration": Boxes(0.56, (0.159, 0.079), (0.525, 0.115), (-1.39, 0.49), (-1.34, 0.47)),
    "Mass": Boxes(0.47, (0.186, 0.085), (0.451, 0.115), (-2.00, 0.58), (-1.88, 0.60)),
    "Nodule": Boxes(0.52, (0.236, 0.082), (0.482, 0.153), (-2.70, 0.31), (-2.73, 0.33)),
    "Pneumonia": Boxes(0.53, (0.175, 0.069), (0.556, 0.104), (-1.42, 0.44), (-1.32, 0.46)),
    "Pneumothorax": Boxes(0.43, (0.213, 0.068), (0.325, 0.187), (-1.76, 0.52), (-1.67, 0.74)),
}
# Consolidation has no boxes; it is drawn as Pneumonia is.
PLACED_LIKE = {"Consolidation": "Pneumonia"}
# Share of images that carry a finding: the data set's order, the rare ones raised so that every class can be scored.
PREVALENCE = {
    "Atelectasis": 0.13,
    "Cardiomegaly": 0.06,
    "Effusion": 0.14,
    "Infiltration": 0.17,
    "Mass": 0.08,
    "Nodule": 0.09,
    "Pneumonia": 0.05,
    "Pneumothorax": 0.08,
    "Consolidation": 0.07,
    "Edema": 0.06,
    "Emphysema": 0.06,
    "Fibrosis": 0.05,
    "Pleural_Thickening": 0.06,
    "Hernia": 0.04,
}
HEALTHY_PATIENTS = 0.2  # share of patients without any finding at any time


def draw_findings(patient_of: np.ndarray, labels: tuple[str, ...], generator: np.random.Generator) -> np.ndarray:
    """Draw which image carries which finding, bool ``(N, labels)``; a patient's images resemble one another."""
    patients = int(patient_of.max()) + 1
    healthy = generator.random(patients) < HEALTHY_PATIENTS
    prevalence = np.array([PREVALENCE[label] for label in labels]) / (1.0 - HEALTHY_PATIENTS)
    prone = generator.random((patients, len(labels)))[patient_of]
    now = generator.random((len(patient_of), len(labels)))
    return (
        np.where(now < 0.5, prone < prevalence, generator.random(now.shape) < prevalence) & ~healthy[patient_of, None]
    )


def shape_by_findings(
    build: Build, present: dict[str, np.ndarray], generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Change the build of images whose finding is a change of shape; returns label → rows changed.

    Cardiomegaly enlarges the heart by about 1.3; Emphysema lengthens and darkens the lungs and flattens the domes.
    """
    changed = {}
    rows = np.flatnonzero(present["Cardiomegaly"])
    build.heart[rows] *= np.float32(1.0) + np.abs(generator.normal(0.26, 0.08, (len(rows), 1, 1))).astype(np.float32)
    changed["Cardiomegaly"] = rows
    rows = np.flatnonzero(present["Emphysema"])
    strength = np.abs(generator.normal(1.0, 0.35, (len(rows), 1, 1))).astype(np.float32)
    build.base[rows] += 0.035 * strength
    build.dome[rows] *= np.maximum(1.0 - 0.55 * strength, 0.1)
    build.air[rows] *= 1.0 + 0.10 * strength
    changed["Emphysema"] = rows
    return changed


class Painter:
    """Paints findings into a thorax by changing its optical depth; keeps the box of each.

    Attributes:
        thorax: The batch of images, changed in place.
        boxes: (row, label, x, y, width, height) in pixels, top-left corner first.
        given: (row, label) → (x, y, width, height) in fractions of the image, where a finding has to lie.
    """

    def __init__(self, thorax: Thorax, strength: float, generator: np.random.Generator) -> None:
        self.thorax, self.strength, self.generator = thorax, strength, generator
        self.boxes: list[tuple[int, str, int, int, int, int]] = []
        self.given: dict[tuple[int, str], tuple[float, float, float, float]] = {}

    def paint(self, label: str, rows: np.ndarray) -> None:
        """Paint one finding into some images."""
        if not len(rows):
            return
        t = self.thorax
        if label == "Cardiomegaly":
            self._keep(label, rows, t.heart[rows] > 0)
        elif label == "Emphysema":
            self._keep(label, rows, t.lung[rows] > 0)
        else:
            region = _Region(t, rows, self.generator)
            region.given = np.array([self.given.get((int(r), label), (np.nan,) * 4) for r in rows], np.float32)
            delta = PATTERNS[label](region, label)
            severity = exp(self.generator.normal(0.0, 0.35, (len(rows), 1, 1))).astype(np.float32)
            delta = delta * (severity * np.float32(self.strength))
            t.depth[rows] += delta
            peak = np.abs(delta).max(axis=(1, 2), keepdims=True)
            self._keep(label, rows, np.abs(delta) > 0.3 * np.maximum(peak, 1e-6))

    def _keep(self, label: str, rows: np.ndarray, painted: np.ndarray) -> None:
        across, down = np.asarray(painted.any(axis=1)), np.asarray(painted.any(axis=2))
        for row, columns, lines in zip(rows, across, down, strict=True):
            x, y = np.flatnonzero(columns), np.flatnonzero(lines)
            if len(x):
                size = (int(x[-1] - x[0]) + 1, int(y[-1] - y[0]) + 1)
                self.boxes.append((int(row), label, int(x[0]), int(y[0]), *size))


class _Region:
    """The fields of the images that carry one finding, and a place for it in each."""

    def __init__(self, thorax: Thorax, rows: np.ndarray, generator: np.random.Generator) -> None:
        self.u, self.v, self.side = thorax.u[rows], thorax.v[rows], thorax.side[rows]
        self.wall, self.lung, self.heart = thorax.wall[rows], thorax.lung[rows], thorax.heart[rows]
        self.diaphragm, self.base = thorax.diaphragm[rows], thorax.build.base[rows]
        self.lungs = smooth_step(np.minimum(self.wall, self.diaphragm - self.v) / 0.008)
        self.beside_spine = smooth_step((np.abs(self.u) - 0.065) / 0.010)
        self.generator = generator
        self.count = len(rows)
        self.given = np.full((self.count, 4), np.nan, np.float32)

    def normal(self, mean: float, sd: float) -> np.ndarray:
        """Draw a number per image, float32 ``(n, 1, 1)``."""
        return self.generator.normal(mean, sd, (self.count, 1, 1)).astype(np.float32)

    def placed(self, label: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Draw side (±1), centre (cu, cv) and half sizes (ru, rv) as the real boxes lie."""
        real = REAL_BOXES[PLACED_LIKE.get(label, label)]
        side = np.where(self.generator.random((self.count, 1, 1)) < real.left, 1.0, -1.0).astype(np.float32)
        cu = side * np.clip(self.normal(*real.off), 0.08, 0.30)
        cv = np.clip(self.normal(*real.y), 0.16, 0.74) - 0.5
        ru = np.clip(exp(self.normal(*real.log_width)), 0.035, 0.45) / 2
        rv = np.clip(exp(self.normal(*real.log_height)), 0.035, 0.60) / 2
        if np.isnan(self.given).all():
            return side, cu, cv, ru, rv
        x, y, width, height = (self.given[:, i, None, None] for i in range(4))
        known = ~np.isnan(x)
        cu, cv = np.where(known, x + width / 2 - 0.5, cu), np.where(known, y + height / 2 - 0.5, cv)
        ru, rv = np.where(known, width / 2, ru), np.where(known, height / 2, rv)
        return np.where(known, np.sign(cu), side), cu, cv, ru, rv

    def blob(self, cu: np.ndarray, cv: np.ndarray, ru: np.ndarray, rv: np.ndarray, softness: float) -> np.ndarray:
        """Return an ellipse of height 1; ``softness`` is the width of its rim in radii."""
        radius = np.sqrt(((self.u - cu) / ru) ** 2 + ((self.v - cv) / rv) ** 2)
        return smooth_step((1.0 - radius) / (0.25 * softness))

    def noise(self, knots: int) -> np.ndarray:
        return smooth_noise(self.u.shape, knots, self.generator)


def _mass(r: _Region, label: str) -> np.ndarray:
    """A dense ball with a sharp rim."""
    _, cu, cv, ru, rv = r.placed(label)
    found: np.ndarray = 0.30 * r.blob(cu, cv, ru, rv, 0.35) * r.lungs
    return found


def _nodule(r: _Region, label: str) -> np.ndarray:
    """As a mass, small."""
    _, cu, cv, ru, rv = r.placed(label)
    found: np.ndarray = 0.38 * r.blob(cu, cv, ru, rv, 0.35) * r.lungs
    return found


def _infiltration(r: _Region, label: str) -> np.ndarray:
    """A mottled patch without an edge."""
    _, cu, cv, ru, rv = r.placed(label)
    found: np.ndarray = 0.24 * r.blob(cu, cv, ru, rv, 1.2) * np.clip(0.7 + 0.6 * r.noise(20), 0.0, 2.0) * r.lungs
    return found


def _pneumonia(r: _Region, label: str) -> np.ndarray:
    """A lobar patch: cut off by a level fissure above or below."""
    _, cu, cv, ru, rv = r.placed(label)
    below = np.where(r.generator.random((r.count, 1, 1)) < 0.5, 1.0, -1.0).astype(np.float32)
    found: np.ndarray = (
        0.30 * r.blob(cu, cv, ru, rv, 0.8) * smooth_step(below * (r.v - cv + 0.2 * below * rv) / 0.008) * r.lungs
    )
    return found


def _consolidation(r: _Region, label: str) -> np.ndarray:
    """Dense, with dark air bronchograms running through it."""
    _, cu, cv, ru, rv = r.placed(label)
    tubes = np.abs((r.u - cu) + 0.7 * (r.v - cv) + 0.02 * r.noise(8)) % 0.055
    found: np.ndarray = (
        0.42 * r.blob(cu, cv, 0.8 * ru, 0.8 * rv, 0.9) * (1.0 - 0.55 * exp(-((tubes / 0.009) ** 2))) * r.lungs
    )
    return found


def _atelectasis(r: _Region, label: str) -> np.ndarray:
    """A plate of collapsed lung: a slanted band."""
    side, cu, cv, ru, _ = r.placed(label)
    slope = side * r.normal(0.25, 0.2)
    line = exp(-(((r.v - cv - slope * (r.u - cu)) / 0.014) ** 2))
    found: np.ndarray = 0.36 * line * smooth_step((1.3 * ru - np.abs(r.u - cu)) / 0.012) * r.lungs
    return found


def _effusion(r: _Region, label: str) -> np.ndarray:
    """Fluid at the base of one lung, climbing the wall as a meniscus."""
    side, _, _, _, rv = r.placed(label)
    one = smooth_step(side * r.u / 0.01)
    level = r.base - 0.03 - np.minimum(1.1 * rv, 0.22) - 0.10 * exp(-np.maximum(r.wall, 0.0) / 0.03)
    found: np.ndarray = (
        0.40
        * one
        * smooth_step((r.v - level) / 0.012)
        * smooth_step(r.wall / 0.008)
        * smooth_step((r.base - r.v) / 0.01)
    )
    return found


def _pneumothorax(r: _Region, label: str) -> np.ndarray:
    """Air between wall and lung: a dark crescent without vessels from the apex down, bounded by a thin bright line."""
    side, _, cv, ru, rv = r.placed(label)
    one = smooth_step(side * r.u / 0.01)
    gap = np.minimum(0.02 + 0.55 * ru, 0.11) * smooth_step((cv + rv + 0.05 - r.v) / 0.03)
    crescent = smooth_step((gap - r.wall) / 0.006) * smooth_step(r.wall / 0.006) * smooth_step((gap - 0.012) / 0.004)
    line = exp(-(((r.wall - gap) / 0.007) ** 2)) * smooth_step((gap - 0.012) / 0.004)
    found: np.ndarray = one * (0.12 * line - 0.26 * crescent) * r.lungs
    return found


def _edema(r: _Region, label: str) -> np.ndarray:
    """Haze about both hila."""
    reach = np.sqrt((np.abs(r.u) - 0.09) ** 2 + (r.v + 0.01) ** 2)
    found: np.ndarray = (
        0.26
        * exp(-((reach / (0.13 + r.normal(0.0, 0.015))) ** 2))
        * (1.0 + 0.3 * r.noise(14))
        * r.lungs
        * r.beside_spine
    )
    return found


def _fibrosis(r: _Region, label: str) -> np.ndarray:
    """A net of fine lines at both bases."""
    net = 1.0 - np.minimum(np.abs(r.noise(26)) * 2.0, 1.0)
    found: np.ndarray = 0.30 * net * smooth_step((r.v - (r.base - 0.22)) / 0.03) * r.lungs * r.beside_spine
    return found


def _pleural_thickening(r: _Region, label: str) -> np.ndarray:
    """A bright rim along the side wall of one lung."""
    side = np.where(r.generator.random((r.count, 1, 1)) < 0.5, 1.0, -1.0).astype(np.float32)
    middle = r.normal(0.02, 0.10)
    rim = exp(-(((r.wall - 0.010) / 0.014) ** 2)) * exp(-(power((r.v - middle) / 0.13, 4)))
    found: np.ndarray = 0.32 * rim * smooth_step(side * r.u / 0.01) * smooth_step((np.abs(r.u) - 0.1) / 0.01)
    return found


def _hernia(r: _Region, label: str) -> np.ndarray:
    """Stomach behind the heart: a round shadow with air over a level."""
    cu, cv = r.normal(0.03, 0.015), r.base - 0.09 + r.normal(0.0, 0.015)
    radius = np.clip(r.normal(0.07, 0.012), 0.04, 0.11)
    ball = r.blob(cu, cv, radius, radius, 0.3)
    found: np.ndarray = 0.24 * ball - 0.50 * ball * smooth_step((cv - 0.1 * radius - r.v) / 0.008) * r.blob(
        cu, cv, 0.75 * radius, 0.75 * radius, 0.3
    )
    return found


PATTERNS: dict[str, Callable[[_Region, str], np.ndarray]] = {
    "Atelectasis": _atelectasis,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumonia": _pneumonia,
    "Pneumothorax": _pneumothorax,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Fibrosis": _fibrosis,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
}
