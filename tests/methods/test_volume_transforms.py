from itertools import product

import numpy as np
import pytest

from harness.errors import ConfigurationError, UnknownName
from methods.volumes.transforms import (
    KINDS,
    bezier,
    change,
    distort,
    elastic,
    nonlinear,
    paint,
    painted_block,
    place,
    shuffle,
)

PAPER, SMALL = (64, 64, 32), (16, 16, 8)


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def cube(shape=PAPER, seed=0):
    return generator(seed).random(shape, dtype=np.float32)


class Noted(np.random.Generator):
    """A generator that remembers the blocks that ``integers`` drew."""

    def __init__(self, seed):
        super().__init__(np.random.PCG64(seed))
        self.drawn = []

    def integers(self, *args, **kwargs):
        value = super().integers(*args, **kwargs)
        self.drawn.append(int(value))
        return value


@pytest.mark.parametrize("shape", [PAPER, SMALL])
def test_the_elastic_deformation_moves_nothing_in_z_and_little_in_x_and_y(shape):
    ramp = np.broadcast_to(np.linspace(0, 1, shape[2], dtype=np.float32), shape)
    assert np.allclose(elastic(ramp, generator()), ramp, atol=1e-6), "a volume that varies in z alone must not change"
    # Away from the border the value of a ramp in x is where it was read.
    ramp = np.broadcast_to(np.arange(shape[0], dtype=np.float32)[:, None, None], shape)
    moved = np.concatenate(
        [
            (elastic(ramp, generator(seed)) - ramp)[
                shape[0] // 4 : -shape[0] // 4, shape[1] // 4 : -shape[1] // 4
            ].ravel()
            for seed in range(6)
        ]
    )
    # Smoothing noise of variance 1/3 with a Gaussian of σ in three dimensions leaves 1/3 · (2σ√π)⁻³, away from borders.
    scale = shape[0] / 64
    expected = 991 * scale**2.5 * np.sqrt((2 * 8 * scale * np.sqrt(np.pi)) ** -3 / 3)
    assert 3.0 < expected / scale < 4.5
    assert 0.5 * expected < moved.std() < 1.3 * expected  # less: the noise ends at the border of a shallow cube
    assert moved.std() > 0.1


def test_the_elastic_deformation_of_a_constant_is_that_constant():
    assert np.allclose(elastic(np.full(PAPER, 0.3, np.float32), generator()), 0.3)


@pytest.mark.parametrize("shape", [PAPER, SMALL])
def test_shuffling_is_a_permutation_inside_each_block_and_touches_nothing_else(shape):
    before = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    noted = Noted(3)
    after = shuffle(before, noted)
    assert np.array_equal(np.sort(after.ravel()), before.ravel())
    touched = np.zeros(shape, bool)
    drawn = np.array(noted.drawn).reshape(5, 6)  # per block: three sides, then three corners
    limits = [max(2, side // 10) for side in shape]
    assert limits == ([6, 6, 3] if shape == PAPER else [2, 2, 2])
    for sides, corner in ((row[:3], row[3:]) for row in drawn):
        assert all(1 <= side <= most for side, most in zip(sides, limits, strict=True))
        touched[tuple(slice(c, c + s) for c, s in zip(corner, sides, strict=True))] = True
    assert np.array_equal(after[~touched], before[~touched])
    assert 0 < (after != before).sum() <= touched.sum()


def test_shuffling_one_block_preserves_the_multiset_of_that_block():
    before = cube(SMALL)
    noted = Noted(5)
    after = shuffle(before, noted)
    rows = np.array(noted.drawn).reshape(5, 6)
    blocks = [tuple(slice(c, c + s) for c, s in zip(row[3:], row[:3], strict=True)) for row in rows]
    covered = np.zeros(SMALL, int)
    for block in blocks:
        covered[block] += 1
    alone = [block for block in blocks if covered[block].max() == 1]
    assert alone
    for block in alone:
        assert np.array_equal(np.sort(after[block].ravel()), np.sort(before[block].ravel()))


def test_the_bezier_curve_is_de_casteljaus():
    controls = np.array([[0.2, 0.9], [0.7, 0.1]])
    x, y = bezier(controls)
    points = np.array([[0.0, 0.0], *controls, [1.0, 1.0]])
    for t, found in zip(np.linspace(0, 1, len(x)), np.stack([x, y], 1), strict=True):
        left = points
        while len(left) > 1:
            left = (1 - t) * left[:-1] + t * left[1:]
        assert np.allclose(found, left[0], atol=1e-12)


def test_the_intensity_map_hits_its_end_points_and_is_the_same_for_equal_intensities():
    seen = set()
    for seed in range(40):
        values = np.array([0.0, 1.0, 0.25, 0.25, 0.75], np.float32).reshape(5, 1, 1)
        mapped = nonlinear(values, generator(seed)).ravel()
        assert mapped[2] == mapped[3] and (mapped >= 0).all() and (mapped <= 1).all()
        ends = (round(float(mapped[0]), 6), round(float(mapped[1]), 6))
        assert ends in ((0.0, 1.0), (1.0, 0.0))
        seen.add(ends)
        if ends == (0.0, 1.0):
            line = nonlinear(np.linspace(0, 1, 50, dtype=np.float32).reshape(50, 1, 1), generator(seed)).ravel()
            assert (np.diff(line) >= 0).all(), "with both sides sorted the map must rise"
    assert len(seen) == 2, "half of the maps run backwards"


@pytest.mark.parametrize(
    ("painting", "kind", "shape"), list(product(("keras", "pytorch"), ("inner", "outer"), (PAPER, SMALL)))
)
def test_painting_leaves_the_other_side_of_the_block_untouched(painting, kind, shape):
    before = cube(shape)
    for seed in range(5):
        rng = generator(seed)
        block = painted_block(shape, kind, rng, painting)
        after = paint(before, block, kind, rng, painting)
        inside = np.zeros(shape, bool)
        inside[block] = True
        kept = inside if kind == "outer" else ~inside
        assert np.array_equal(after[kept], before[kept])
        assert kept.any() and (~kept).any()
        painted = after[~kept]
        assert (painted != before[~kept]).mean() > 0.99
        assert (len(np.unique(painted)) == 1) == (painting == "keras")
        assert (painted >= 0).all() and (painted < 1).all()


def test_the_published_blocks_have_the_published_sides():
    for seed in range(50):
        sides = {
            (painting, kind): [b.stop - b.start for b in painted_block(PAPER, kind, generator(seed), painting)]
            for painting, kind in product(("keras", "pytorch"), ("inner", "outer"))
        }
        assert all(10 <= side <= 20 for side in sides["keras", "inner"])
        assert all(10 <= whole - side <= 20 for whole, side in zip(PAPER, sides["keras", "outer"], strict=True))
        assert all(
            whole // 6 <= side <= whole // 3 for whole, side in zip(PAPER, sides["pytorch", "inner"], strict=True)
        )
        less = [whole - side for whole, side in zip(PAPER, sides["pytorch", "outer"], strict=True)]
        assert all(3 * whole // 7 <= cut <= 4 * whole // 7 for whole, cut in zip(PAPER, less, strict=True))
        assert all(
            b.start >= 3 and b.stop <= w - 3
            for b, w in zip(painted_block(PAPER, "inner", generator(seed), "keras"), PAPER, strict=True)
        )


def test_a_block_stays_inside():
    for seed in range(100):
        for block, whole in zip(place((8, 9, 10), [8, 3, 1], 3, generator(seed)), (8, 9, 10), strict=True):
            assert 0 <= block.start < block.stop <= whole


def test_exactly_one_of_four_follows_the_deformation_each_a_quarter_of_the_time():
    before = cube(SMALL)
    counts = dict.fromkeys(KINDS, 0)
    for seed in range(400):
        rng, again = generator(seed), generator(seed)
        found = distort(before, rng, "keras")
        deformed = elastic(before, again)
        kind = KINDS[again.integers(4)]
        assert np.array_equal(found, change(deformed, kind, again, "keras"))
        counts[kind] += 1
    assert all(70 < count < 130 for count in counts.values())  # 100 ± 3.5 standard deviations


def test_nothing_is_done_in_place_and_the_range_is_kept():
    before = cube(SMALL)
    for seed, kind in enumerate(KINDS):
        copy = before.copy()
        after = change(before, kind, generator(seed), "pytorch")
        assert np.array_equal(before, copy) and after.dtype == np.float32
        assert after.min() >= 0 and after.max() <= 1


def test_unknown_names_are_refused():
    with pytest.raises(UnknownName, match="shuffle"):
        change(cube(SMALL), "shuffel", generator(), "keras")
    with pytest.raises(ConfigurationError, match="expected keras or pytorch"):
        painted_block(SMALL, "inner", generator(), "tensorflow")
