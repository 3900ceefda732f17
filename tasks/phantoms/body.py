"""An analytic trunk in three dimensions, in Hounsfield units: chest and abdomen for the CT phantoms.

Nothing here comes from a patient. It is the thorax of the radiographs (``tasks.phantoms.thorax``) made solid: the same
builds, and in the frontal plane the same rib cage, mediastinum, heart and diaphragm. Coordinates are that thorax's,
``u`` to the patient's left and ``v`` down, with ``w`` towards the back, in units of 400 mm. In the world (LPS
millimetres) a point is (400 u, 400 w, −400 v). Arrays are ``(X, Y, Z)`` with indices growing to left, back and head.

Hounsfield values are textbook means: the organs a task is about differ by less than the noise from their neighbours,
so place and shape decide, not brightness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from harness.late import ndimage
from tasks.layouts.space import dot, unit
from tasks.phantoms.thorax import Build, outline

UNIT_MM = 400.0
DEPTH = 0.215  # half the rib cage from front to back, in units
# (u, w, v) of opposite corners of the field of view; v grows towards the feet
FRAMES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "chest": ((-0.48, 0.48), (-0.32, 0.32), (-0.44, 0.36)),
    "abdomen": ((-0.48, 0.48), (-0.32, 0.32), (0.06, 0.62)),
}
HU = {
    "air": -1000.0,
    "lung": -850.0,
    "fat": -100.0,
    "muscle": 50.0,
    "blood": 45.0,
    "bone": 550.0,
    "marrow": 200.0,
    "liver": 100.0,
    "spleen": 95.0,
    "kidneys": 110.0,
    "stomach": 25.0,
    "bowel": 95.0,
}
LOOPS = 60  # of bowel in an abdomen


@dataclass(frozen=True)
class Tube:
    """A straight piece of vessel: from ``start`` to ``end``, LPS millimetres ``(3,)``, with its radius.

    ``generation`` counts the branchings before it; ``parent`` is the index of the piece it leaves, or −1.
    """

    start: np.ndarray
    end: np.ndarray
    radius: float
    generation: int
    parent: int


@dataclass
class Body:
    """A phantom scan under construction.

    Attributes:
        hu: float32 ``(X, Y, Z)``; paint into it, then ``finish``.
        affine: Index → LPS millimetres, ``(4, 4)``; diagonal.
        organs: Name → bool ``(X, Y, Z)``: body, lungs, heart, vessels, liver, spleen, kidneys, stomach, bowel,
            ribs, spine. Of two that meet, the later one was laid over the earlier.
        vessels: The tubes of the lung's tree, root first.
    """

    hu: np.ndarray
    affine: np.ndarray
    organs: dict[str, np.ndarray]
    vessels: tuple[Tube, ...]

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres a voxel, ``(3,)``."""
        return np.diag(self.affine)[:3]

    def millimetres(self, low: np.ndarray | None = None, high: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Return x ``(X, 1, 1)``, y ``(1, Y, 1)``, z ``(1, 1, Z)`` in LPS millimetres, of a box of indices if given."""
        axes = []
        for axis in range(3):
            first = 0 if low is None else int(low[axis])
            last = self.hu.shape[axis] if high is None else int(high[axis])
            line = self.affine[axis, 3] + self.affine[axis, axis] * np.arange(first, last)
            axes.append(line.astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)]))
        return tuple(axes)

    def box(self, centre: np.ndarray, reach: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, tuple[slice, ...]]:
        """Return (low, high, slices) of the voxels within ``reach`` millimetres of a point, cut at the border."""
        middle = (np.asarray(centre) - self.affine[:3, 3]) / self.spacing
        steps = np.asarray(reach) / self.spacing
        low = np.clip(np.floor(middle - steps), 0, self.hu.shape).astype(int)
        high = np.clip(np.ceil(middle + steps) + 1, 0, self.hu.shape).astype(int)
        return low, high, tuple(slice(a, b) for a, b in zip(low, high, strict=True))

    def lay(self, name: str, where: np.ndarray, hu: float) -> None:
        """Fill an organ with one value, and keep where it is, bool ``(X, Y, Z)``, under its name."""
        self.organs[name] = where
        self.hu[where] = hu

    def paint_ellipsoid(self, centre: np.ndarray, radii: np.ndarray | float, hu: float) -> np.ndarray:
        """Paint an ellipsoid with axes along the grid; its border voxels are shared in proportion.

        Args:
            centre: LPS millimetres ``(3,)``.
            radii: Millimetres, one or ``(3,)``.
            hu: Its value.

        Returns:
            bool ``(X, Y, Z)``: the voxels of which it fills at least half.
        """
        radii = np.broadcast_to(np.asarray(radii, np.float32), 3)
        low, high, box = self.box(centre, radii + self.spacing)
        x, y, z = self.millimetres(low, high)
        away = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2
        inside = (1.0 - np.sqrt(away)) * float(np.min(radii))
        return self._share(box, inside, hu)

    def paint_tube(self, start: np.ndarray, end: np.ndarray, radius: float, hu: float) -> np.ndarray:
        """Paint a tube with round ends; see ``paint_ellipsoid``."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        low, high, box = self.box((start + end) / 2, np.abs(end - start) / 2 + radius + self.spacing)
        return self._share(box, radius - _away_from_line(self.millimetres(low, high), start, end), hu)

    def _share(self, box: tuple[slice, ...], inside: np.ndarray, hu: float) -> np.ndarray:
        share = np.clip(0.5 + inside / float(np.mean(self.spacing)), 0.0, 1.0)
        self.hu[box] += share * (np.float32(hu) - self.hu[box])
        found = np.zeros(self.hu.shape, bool)
        found[box] = inside >= 0
        return found

    def finish(self, noise: float, blur: float, generator: np.random.Generator) -> np.ndarray:
        """Return the scan, int16: blurred by ``blur`` voxels, with noise of ``noise`` HU, nothing below −1024."""
        seen = ndimage.gaussian_filter(self.hu, blur) if blur > 0 else self.hu
        seen = seen + noise * generator.standard_normal(seen.shape, dtype=np.float32)
        found: np.ndarray = np.clip(np.rint(seen), -1024, 3071).astype(np.int16)
        return found


@dataclass(frozen=True)
class _Place:
    """Where the voxels lie in one patient.

    Attributes:
        u, w, v: To the left ``(X, 1, 1)``, to the back ``(1, Y, 1)`` and down ``(1, 1, Z)``, in the patient's units.
        around: Distance from the axis of the trunk, as a share of that of the skin, ``(X, Y, Z)``.
        base: ``v`` of the base of the lungs.
    """

    u: np.ndarray
    w: np.ndarray
    v: np.ndarray
    around: np.ndarray
    base: float

    def ellipsoid(
        self,
        centre: tuple[float, ...],
        radii: tuple[float, ...],
        spread: float,
        generator: np.random.Generator,
    ) -> np.ndarray:
        """Return an ellipsoid of drawn place and size, bool ``(X, Y, Z)``; centre, radii and spread are (u, w, v)."""
        middle = np.array(centre) + spread * generator.standard_normal(3)
        size = np.array(radii) * (1.0 + 0.08 * generator.standard_normal(3))
        found: np.ndarray = (
            ((self.u - middle[0]) / size[0]) ** 2
            + ((self.w - middle[1]) / size[1]) ** 2
            + ((self.v - middle[2]) / size[2]) ** 2
        ) < 1.0
        return found


@dataclass(frozen=True)
class _Chest:
    """What the chest leaves to the rest: bool ``(X, Y, Z)``, but for ``wall``, the depth inside the cage's wall."""

    wall: np.ndarray
    above: np.ndarray  # the diaphragm
    lung: np.ndarray


def make_body(
    build: Build,
    shape: tuple[int, int, int],
    generator: np.random.Generator,
    *,
    frame: Literal["chest", "abdomen"] = "chest",
    blood: float = HU["blood"],
    organ_spread: float = 8.0,
) -> Body:
    """Make one patient's trunk.

    Args:
        build: One row of ``tasks.phantoms.thorax.draw_builds`` (``build.take(slice(i, i + 1))``).
        shape: Voxels ``(X, Y, Z)``.
        generator: Source of randomness.
        frame: Which part of the trunk the field of view holds.
        blood: HU in heart and vessels; about 300 with contrast.
        organ_spread: Standard deviation of a patient's shift, common to liver, spleen, kidneys and bowel, so that no
            fixed threshold finds one of them.
    """
    body = _air(shape, frame)
    place = _place(body, build)
    shift = float(organ_spread * generator.standard_normal())
    _lay_skin(body, place)
    chest = _lay_chest(body, place, build, blood)
    _lay_abdomen(body, place, chest, shift, LOOPS if frame == "abdomen" else 0, generator)
    _lay_bones_and_aorta(body, place, chest, build, blood)
    body.vessels = grow_vessels(build, generator) if frame == "chest" else ()
    body.organs["vessels"] = _paint_vessels(body, blood)
    return body


def _air(shape: tuple[int, int, int], frame: str) -> Body:
    """Return a scan of nothing but air."""
    (u0, u1), (w0, w1), (v0, v1) = FRAMES[frame]
    low = np.array([u0, w0, -v1]) * UNIT_MM
    high = np.array([u1, w1, -v0]) * UNIT_MM
    spacing = (high - low) / shape
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = low + spacing / 2
    return Body(np.full(shape, HU["air"], np.float32), affine, {}, ())


def _place(body: Body, build: Build) -> _Place:
    x, y, z = body.millimetres()
    scale = np.float32(build.scale.item() * UNIT_MM)
    u, w, v = x / scale, y / scale, -z / scale
    around = np.sqrt((u / 0.44) ** 2 + (w / 0.27) ** 2) + 0.0 * v
    return _Place(u, w, v, around, float(build.base.item()))


def _lay_skin(body: Body, place: _Place) -> None:
    """Lay the skin, a layer of fat and a wall of muscle."""
    around = place.around
    neck = np.maximum(-(place.v + 0.36), 0.0) * 1.4
    body.lay("body", around + neck < 1.0, HU["fat"])
    body.hu[(around + neck < 0.93) & (around > 0.80)] = HU["muscle"]


def _lay_chest(body: Body, place: _Place, build: Build, blood: float) -> _Chest:
    """Lay lungs and heart in their cage, which narrows towards front and back as it does towards the apex."""
    u, w, v, around = place.u, place.w, place.v, place.around
    slim = np.sqrt(np.maximum(1.0 - (w / DEPTH) ** 2, 0.0025))
    wall, _, _, _ = outline(build, u / slim, v)
    _, inner, diaphragm, heart_in_front = outline(build, u, v)
    dome = diaphragm + 0.10 * np.maximum(w, 0.0)  # lower at the back
    above = v < dome
    cage = (wall > 0) & (np.abs(w) < DEPTH) & (around < 0.93)
    body.hu[cage & above] = HU["muscle"]
    heart = (np.sqrt((1.0 - heart_in_front / 0.115) ** 2 + ((w + 0.06) / 0.105) ** 2) < 1.0) & cage
    lung = cage & above & (np.abs(u) > np.minimum(inner, 0.075)) & ~heart
    body.lay("lungs", lung, HU["lung"] * float(build.air.item() / 0.62) ** 0.1)
    body.lay("heart", heart & (v < dome + 0.03), blood)
    return _Chest(wall, above, lung)


def _lay_abdomen(
    body: Body, place: _Place, chest: _Chest, shift: float, loops: int, generator: np.random.Generator
) -> None:
    """Lay the organs below the diaphragm, brighter by ``shift`` HU than the textbook's, and ``loops`` of bowel."""
    base, ellipsoid = place.base, place.ellipsoid
    inside = (place.around < 0.80) & ~chest.above
    stomach = ellipsoid((0.13, -0.09, base + 0.09), (0.10, 0.08, 0.08), 0.012, generator) & inside
    kidneys = inside & (
        ellipsoid((-0.14, 0.10, base + 0.21), (0.045, 0.045, 0.075), 0.010, generator)
        | ellipsoid((0.15, 0.10, base + 0.19), (0.045, 0.045, 0.075), 0.010, generator)
    )
    spleen = ellipsoid((0.25, 0.08, base + 0.05), (0.075, 0.085, 0.095), 0.012, generator) & inside
    # a large right lobe and a thin left one across the midline
    liver = ellipsoid((-0.16, 0.0, base + 0.08), (0.19, 0.165, 0.155), 0.012, generator)
    liver |= ellipsoid((0.0, -0.08, base + 0.03), (0.15, 0.075, 0.06), 0.012, generator)
    # loops of bowel filled with contrast medium, as bright as the liver beside them
    bowel = np.zeros(body.hu.shape, bool)
    for _ in range(loops):
        centre = (generator.uniform(-0.28, 0.28), generator.uniform(-0.17, 0.10), base + generator.uniform(-0.04, 0.34))
        bowel |= ellipsoid(centre, tuple(generator.uniform(0.030, 0.065, 3)), 0.0, generator)
    body.lay("bowel", bowel & inside & (place.around < 0.76), HU["bowel"] + shift)
    body.lay("stomach", stomach, HU["stomach"])
    body.lay("kidneys", kidneys, HU["kidneys"] + shift)
    body.lay("spleen", spleen & ~kidneys & ~stomach, HU["spleen"] + shift)
    body.lay("liver", liver & inside & ~kidneys & ~stomach & ~spleen, HU["liver"] + shift)


def _lay_bones_and_aorta(body: Body, place: _Place, chest: _Chest, build: Build, blood: float) -> None:
    """Lay ribs, spine and aorta, and take the bones out of the lungs."""
    u, w, v, around = place.u, place.w, place.v, place.around
    wall, lung = chest.wall, chest.lung
    rows = (v + 0.45 * w) / float(build.spacing.item())
    near = np.abs(rows - np.round(rows)) < 0.22
    rib = near & (np.abs(wall + 0.010) < 0.014) & (v < place.base + 0.06) & (around < 0.93)
    body.lay("ribs", rib & ~lung, HU["bone"])
    column = np.sqrt((u / 0.045) ** 2 + ((w - 0.155) / 0.045) ** 2) + 0.0 * v
    spine = (column < 1.0) & (around < 0.93)
    body.lay("spine", spine, HU["marrow"])
    body.hu[spine & (column > 0.75)] = HU["bone"]
    aorta = (np.sqrt((u - 0.045) ** 2 + (w - 0.09) ** 2) < 0.026) & body.organs["body"] & ~spine
    body.hu[aorta & ~lung] = blood
    body.organs["lungs"] = lung & ~rib & ~spine


def grow_vessels(build: Build, generator: np.random.Generator, generations: int = 5) -> tuple[Tube, ...]:
    """Grow the trees of both lungs from the hila: each piece forks into two thinner, shorter ones.

    Diameters fall by 2^(−1/3) a generation (Murray 1926) from 12 mm.

    Args:
        build: The patient.
        generator: Source of randomness.
        generations: Branchings after the first pieces.
    """
    scale = float(build.scale.item()) * UNIT_MM
    tubes: list[Tube] = []
    for side in (-1.0, 1.0):
        hilum = np.array([side * 0.07, 0.02, 0.02]) * scale
        for v in (-0.75, -0.15, 0.55):  # to the upper, middle and lower part
            heading = np.array([side, 0.3 * generator.standard_normal(), -v])
            stack = [(hilum, unit(heading), 6.0, 0.11 * scale, 0, -1)]
            while stack:
                start, heading, radius, length, generation, parent = stack.pop()
                length *= 1.0 + 0.15 * generator.standard_normal()
                end = start + heading * length
                tubes.append(Tube(start, end, radius, generation, parent))
                if generation == generations:
                    continue
                across = generator.standard_normal(3)
                across -= heading * dot(across, heading)
                across = unit(across)
                own = len(tubes) - 1
                for sign in (-1.0, 1.0):
                    turned = unit(heading + sign * generator.uniform(0.45, 0.85) * across)
                    stack.append((end, turned, radius * 2 ** (-1 / 3), 0.72 * length, generation + 1, own))
    return tuple(tubes)


def _paint_vessels(body: Body, blood: float) -> np.ndarray:
    """Paint the tubes where they run in lung; returns the voxels that are at least half vessel."""
    lungs = body.organs["lungs"]
    share = np.zeros(body.hu.shape, np.float32)
    for tube in body.vessels:
        middle, half = (tube.start + tube.end) / 2, np.abs(tube.end - tube.start) / 2
        low, high, box = body.box(middle, half + tube.radius + body.spacing)
        if (high <= low).any():
            continue
        away = _away_from_line(body.millimetres(low, high), tube.start, tube.end)
        # a vessel thinner than a voxel fills the part of it that its cross-section takes
        fill = min(1.0, (2.0 * tube.radius / float(np.mean(body.spacing))) ** 2)
        part = fill * np.clip(0.5 + (tube.radius - away) / float(np.mean(body.spacing)), 0.0, 1.0)
        share[box] = np.maximum(share[box], part)
    share *= lungs
    body.hu += share * (np.float32(blood) - body.hu)
    return share >= 0.5


def _away_from_line(at: tuple[np.ndarray, ...], start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance to a straight piece, in millimetres."""
    along = end - start
    relative = [at[i] - np.float32(start[i]) for i in range(3)]
    projected = cast("np.ndarray", sum(relative[i] * np.float32(along[i]) for i in range(3)))
    place = projected / np.float32(max(float(dot(along, along)), 1e-9))
    place = np.clip(place, 0.0, 1.0)
    return np.sqrt(sum((relative[i] - place * np.float32(along[i])) ** 2 for i in range(3)))
