"""An analytic frontal chest radiograph: optical depth of trunk, lungs, heart, spine and ribs on a grid.

Nothing here comes from a patient. Coordinates: ``u`` to the right of the image and ``v`` down, both about the middle of
the thorax and in units of the image height, so that the patient's left (the heart's side) has ``u > 0``.
Optical depth is in arbitrary units in which soft tissue across the trunk is about 1; brighter is denser.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from tasks.phantoms.elementary import arctan2, cos, exp, power, sin, tanh

APEX = -0.40  # v of the top of the lungs
BASE = 0.30  # v of the lowest point of the lungs, before the dome of the diaphragm
REACH = 2.0  # standard deviations, where variety is above 1
LEAST = 0.3  # of a mean, likewise


@dataclass
class Build:
    """What a patient is made of; float32 arrays ``(N, 1, 1)``, one row an image.

    Attributes:
        scale: Size of the thorax in the frame, about 1.
        shift_u, shift_v, rotation: Position in the frame; rotation in radians.
        width: Width of the rib cage, about 1.
        heart: Size of the heart, about 1.
        dome: Height of the diaphragm's domes, in v.
        base: v at which the lungs end.
        air: How dark aerated lung is.
        soft: Thickness of soft tissue.
        ribs: Contrast of the ribs. spacing: Their distance in v.
        vessels: Contrast of the lung's vessels.
        gain, gamma, noise: Of the detector and its display.
    """

    scale: np.ndarray
    shift_u: np.ndarray
    shift_v: np.ndarray
    rotation: np.ndarray
    width: np.ndarray
    heart: np.ndarray
    dome: np.ndarray
    base: np.ndarray
    air: np.ndarray
    soft: np.ndarray
    ribs: np.ndarray
    spacing: np.ndarray
    vessels: np.ndarray
    gain: np.ndarray
    gamma: np.ndarray
    noise: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Build:
        """Return some of the images."""
        return Build(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def draw_builds(patient_of: np.ndarray, generator: np.random.Generator, variety: float = 1.0) -> Build:
    """Draw a build per image: what is the patient's is shared by all their images, so that a leaky split shows.

    Args:
        patient_of: Patient index of each image, from 0, int ``(N,)``.
        generator: Source of randomness.
        variety: What every standard deviation of the body is multiplied by; those of its place, of the detector and of
            the display stay. Above 1 no deviation exceeds ``REACH`` of these, and no size falls under ``LEAST`` of its
            mean, so that a thorax stays one.
    """
    patients, images = int(patient_of.max()) + 1, len(patient_of)

    def deviations(count: int) -> np.ndarray:
        drawn = generator.standard_normal(count)
        return drawn if variety == 1.0 else variety * np.clip(drawn, -REACH, REACH)

    def size(mean: float, drawn: np.ndarray) -> np.ndarray:
        return drawn if variety == 1.0 else np.maximum(drawn, LEAST * mean)

    def of_patient(mean: float, sd: float) -> np.ndarray:
        found: np.ndarray = size(mean, mean + sd * deviations(patients))[patient_of]
        return found

    def of_image(mean: float, sd: float) -> np.ndarray:
        return size(mean, mean + sd * deviations(images))

    def moved(mean: float, sd: float) -> np.ndarray:
        return mean + sd * generator.standard_normal(images)

    def shown(of_patients: float, of_images: float) -> np.ndarray:
        usual: np.ndarray = (1.0 + of_patients * generator.standard_normal(patients))[patient_of]
        found: np.ndarray = usual * (1.0 + of_images * generator.standard_normal(images))
        return found

    drawn = {
        "scale": of_patient(1.0, 0.05) * of_image(1.0, 0.02),
        "shift_u": moved(0.0, 0.02),
        "shift_v": moved(0.02, 0.02),
        "rotation": moved(0.0, 0.03),
        "width": of_patient(1.0, 0.05),
        "heart": of_patient(1.0, 0.06),
        "dome": of_patient(0.09, 0.015),
        "base": of_patient(BASE, 0.02) + moved(0.0, 0.012),
        "air": of_patient(0.62, 0.04) * of_image(1.0, 0.02),
        "soft": of_patient(1.0, 0.08),
        "ribs": of_patient(0.10, 0.02),
        "spacing": of_patient(0.085, 0.005),
        "vessels": of_patient(0.10, 0.02),
        "gain": shown(0.05, 0.04),
        "gamma": shown(0.06, 0.04),
        "noise": np.abs(0.012 + 0.004 * generator.standard_normal(images)),
    }
    return Build(**{name: np.asarray(value, np.float32).reshape(-1, 1, 1) for name, value in drawn.items()})


def smooth_step(x: np.ndarray) -> np.ndarray:
    """Rise from 0 to 1 around ``x = 0``; a logistic function that cannot overflow."""
    return 0.5 * (1.0 + tanh(0.5 * x))


class Thorax:
    """The fields of a batch of images, each float32 ``(N, H, W)``.

    Attributes:
        u, v: Coordinates. side: −1 on the image's left (the patient's right lung), +1 on its right.
        wall: Distance to the rib cage, positive inside. lung: Signed distance to the lung's visible edge, positive
            inside; behind heart and mediastinum it is negative, as manual masks are drawn.
        heart: Signed distance to the heart's edge, positive inside.
        diaphragm: v of the diaphragm at each u.
        depth: Optical depth.
    """

    def __init__(self, build: Build, height: int, width: int, generator: np.random.Generator) -> None:
        self.build = build
        x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / height
        y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / height
        x, y = x[None, None, :] - build.shift_u, y[None, :, None] - build.shift_v
        cosine, sine = cos(build.rotation), sin(build.rotation)
        self.u = (cosine * x + sine * y) / build.scale
        self.v = (cosine * y - sine * x) / build.scale
        self.side = np.where(self.u < 0, np.float32(-1), np.float32(1))
        self._outline()
        self.depth = self._depth(generator)

    def _outline(self) -> None:
        self.wall, inner, self.diaphragm, self.heart = outline(self.build, self.u, self.v)
        self.lung = np.minimum(
            np.minimum(self.wall, np.abs(self.u) - inner), np.minimum(self.diaphragm - self.v, -self.heart)
        )

    def _depth(self, generator: np.random.Generator) -> np.ndarray:
        b, u, v = self.build, self.u, self.v
        a = np.abs(u)
        shoulder = -0.44 + 0.55 * power(np.maximum(a - 0.10, 0.0), 1.2)
        trunk = smooth_step((v - shoulder) / 0.010) * smooth_step((0.47 - a) / 0.012)
        neck = smooth_step((0.085 - a) / 0.012)
        body = np.maximum(trunk, neck) * (0.70 + 0.25 * (1.0 - (u / 0.5) ** 2)) * b.soft
        inside = smooth_step(np.minimum(self.wall, self.diaphragm - v) / 0.008)
        bulge = np.sqrt(np.clip(self.wall / 0.16, 0.05, 1.0))
        depth = body - b.air * inside * bulge * smooth_step((a - 0.03) / 0.02)
        depth += 0.40 * smooth_step(self.heart / 0.010) * inside
        column = exp(-((u / 0.040) ** 2)) * (0.20 + 0.030 * sin(v * (2 * np.pi / 0.06)))
        depth += column * smooth_step((v + 0.49) / 0.02)
        mediastinum = exp(-(power(a / 0.070, 4))) * 0.20 + 0.14 * exp(
            -(((u - 0.065) / 0.035) ** 2) - ((v + 0.11) / 0.045) ** 2
        )
        depth += mediastinum * smooth_step((v + 0.36) / 0.04)
        depth += 0.10 * smooth_step((v - self.diaphragm) / 0.01) * trunk
        # ribs: behind they leave the spine almost level, in front they fall towards the middle
        behind = (v - 0.35 * power(a, 1.5) + 0.02) / b.spacing
        front = (v - 0.55 * (0.36 - a)) / (1.15 * b.spacing)
        cage = smooth_step((self.wall + 0.01) / 0.008) * smooth_step((a - 0.045) / 0.01)
        level = smooth_step((self.diaphragm + 0.03 - v) / 0.02)
        depth += b.ribs * cage * level * _ridges(behind, 0.16)
        depth += 0.6 * b.ribs * cage * level * _ridges(front, 0.14) * smooth_step((a - 0.13) / 0.03)
        clavicle = exp(-(((v + 0.315 + 0.25 * (a - 0.03) - 0.9 * (a - 0.18) ** 2) / 0.013) ** 2))
        depth += 0.16 * clavicle * smooth_step((a - 0.03) / 0.01) * smooth_step((0.34 - a) / 0.03)
        depth -= 0.22 * smooth_step((1 - ((u - 0.16) / 0.07) ** 2 - ((v - self.diaphragm - 0.065) / 0.035) ** 2) / 0.3)
        # vessels: they fan out from the hilum, bend a little, and fade towards the rim
        reach = np.sqrt((a - 0.075) ** 2 + v**2)
        angle = arctan2(v, a - 0.075)
        bend = smooth_noise(u.shape, 9, generator)
        fan = _ridges(angle * (5.0 / np.pi) + 0.5 * bend + 5.0 * reach, 0.22)
        depth += b.vessels * inside * fan * exp(-reach / 0.14)
        depth += 0.9 * b.vessels * inside * exp(-((reach / 0.06) ** 2))
        depth += 0.025 * smooth_noise(u.shape, 7, generator) * trunk
        found: np.ndarray = depth.astype(np.float32)
        return found

    def render(self, generator: np.random.Generator) -> np.ndarray:
        """Return what the detector shows, uint8 ``(N, H, W)``: gain, display curve, noise."""
        b = self.build
        shown = power(np.clip((self.depth * b.gain + 0.02) / 1.45, 0.0, 1.0), 0.85 * b.gamma)
        shown += b.noise * generator.standard_normal(shown.shape, dtype=np.float32)
        found: np.ndarray = (np.clip(shown, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        return found


def outline(build: Build, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the frontal outlines that radiographs and volumes (``tasks.phantoms.body``) share.

    Args:
        build: What the patients are made of.
        u: To the right of the image; broadcasts with the build's arrays.
        v: Down; likewise.

    Returns:
        Signed distance to the rib cage (positive inside), ``|u|`` of the mediastinum's edge, ``v`` of the diaphragm,
        signed distance to the heart's edge (positive inside).
    """
    a = np.abs(u)
    t = np.clip((v - APEX) / (build.base - APEX), 0.0, 1.0)
    outer = build.width * (0.05 + 0.30 * power(1.0 - power(1.0 - t, 2.5), 0.6))
    inner = 0.055 + 0.035 * exp(-(((v + 0.02) / 0.10) ** 2))
    arch = 1.0 - ((a - 0.18 * build.width) / 0.20) ** 2
    diaphragm = build.base - build.dome * np.maximum(arch, 0.0) + np.where(u > 0, 0.015, -0.015)
    tilt = np.float32(0.5)
    hu, hv = u - 0.075, v - (build.base - 0.13)
    along, across = cos(tilt) * hu + sin(tilt) * hv, cos(tilt) * hv - sin(tilt) * hu
    heart = (1.0 - np.sqrt((along / (0.155 * build.heart)) ** 2 + (across / (0.115 * build.heart)) ** 2)) * 0.115
    return np.minimum(outer - a, v - APEX), inner, diaphragm, heart


def _ridges(phase: np.ndarray, width: float) -> np.ndarray:
    """Return ridges of height 1 at whole-number phases."""
    offset = phase - np.round(phase)
    return exp(-((offset / width) ** 2))


def smooth_noise(shape: tuple[int, ...], knots: int, generator: np.random.Generator) -> np.ndarray:
    """Return noise of unit variance at the knots, interpolated by cosines: float32 ``(N, H, W)``.

    Args:
        shape: (N, H, W).
        knots: Knots along the image's height.
        generator: Source of randomness.
    """
    count, height, width = shape
    columns = max(2, round(knots * width / height))
    coarse = generator.standard_normal((count, knots, columns), dtype=np.float32)
    wide = _between_knots(coarse, width)
    return np.ascontiguousarray(_between_knots(wide.swapaxes(1, 2), height).swapaxes(1, 2))


def _between_knots(values: np.ndarray, length: int) -> np.ndarray:
    """Interpolate the last axis of float32 by cosines, from its knots to ``length`` places.

    Each result has two terms, added in double precision and rounded once: no matrix product, whose last bit would be
    the linear algebra kernel's and could turn a grey value.
    """
    knots = values.shape[-1]
    place = (np.arange(length) + 0.5) / length * (knots - 1)
    left = np.minimum(place.astype(int), knots - 2)
    share = 0.5 - 0.5 * cos(np.pi * (place - left))
    before = values[..., left] * (1.0 - share).astype(np.float32)
    after = values[..., left + 1].astype(np.float64) * share.astype(np.float32)
    return (before + after).astype(np.float32)
