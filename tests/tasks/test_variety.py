"""How much phantoms differ: an option that changes nothing where it is not asked for."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from pytest import approx as near

from tasks.phantoms.thorax import Thorax, draw_builds
from tasks.phantoms.variety import vary

PATIENTS = np.repeat(np.arange(3000), 2)


def drawn(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def test_builds_of_variety_1_are_drawn_as_they_always_were() -> None:
    build, own = draw_builds(PATIENTS, drawn(4)), drawn(4)
    scale = (1.0 + 0.05 * own.standard_normal(3000))[PATIENTS] * (1.0 + 0.02 * own.standard_normal(6000))
    assert np.array_equal(build.scale.ravel(), scale.astype(np.float32))
    for of in fields(build):
        assert np.array_equal(getattr(build, of.name), getattr(draw_builds(PATIENTS, drawn(4), 1.0), of.name))


def test_variety_3_spreads_what_differs_and_keeps_a_thorax_one() -> None:
    plain, varied = draw_builds(PATIENTS, drawn(4)), draw_builds(PATIENTS, drawn(4), 3.0)
    # A standard normal whose tails are set to ±2 has a deviation of 0.959.
    for name in ("heart", "width", "soft"):
        assert getattr(varied, name).std() / getattr(plain, name).std() == near(3 * 0.959, rel=0.02)
    # Where a patient stands and what the detector shows stay: a picture's sides are told apart by the body alone, and a
    # brightness that says nothing cannot be restored.
    for name in ("shift_u", "shift_v", "rotation", "gain", "gamma", "noise"):
        assert np.array_equal(getattr(varied, name), getattr(plain, name)), name
    for name, mean in (("heart", 1.0), ("ribs", 0.10), ("vessels", 0.10), ("dome", 0.09), ("spacing", 0.085)):
        assert getattr(varied, name).min() >= np.float32(0.3 * mean)


def test_varied_images_differ_more_once_brightness_and_contrast_are_taken_out() -> None:
    def spread(variety: float) -> float:
        patients = np.arange(60)
        thorax = Thorax(draw_builds(patients, drawn(5), variety), 48, 48, drawn(6))
        if variety > 1:
            vary(thorax, drawn(7))
        images = thorax.render(drawn(8)).reshape(60, -1).astype(float)
        images -= images.mean(axis=1, keepdims=True)
        images /= images.std(axis=1, keepdims=True)
        return float(images.std(axis=0).mean())

    assert spread(2.0) > 1.2 * spread(1.0)


def test_nothing_varies_in_the_air_beside_the_patient() -> None:
    thorax = Thorax(draw_builds(np.arange(8), drawn(5), 3.0), 48, 48, drawn(6))
    before = thorax.depth.copy()
    vary(thorax, drawn(7))
    assert (before <= 0).mean() > 0.02 and (thorax.depth[before <= 0] <= 0).all()
    assert (thorax.depth[before > 0] != before[before > 0]).mean() > 0.99
