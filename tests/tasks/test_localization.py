"""Localization: hand-computed cases, a brute-force reference, planted evidence, and captum against a hand-written CAM."""

from __future__ import annotations

from collections import deque
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from harness.contracts import Context
from harness.errors import ConfigurationError, DataError
from harness.pixels import Pixels
from tasks.heads.images import Classifier
from tasks.localization_options import Localization
from tasks.scoring.localization.boxes import Regions, activations, overlaps, region_boxes
from tasks.scoring.localization.evidence import score_localization
from tasks.scoring.localization.gradcam import choose_level, grad_cam
from tasks.scoring.localization.rescore import parse, rescore, variants
from tasks.specs import read_transfer
from tasks.transfer.run import run_trial
from tests.tasks.conftest import plan_of
from tests.tasks.standins import TinyBackbone, trial_spec

SIDE = 32
DELTAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def stored(maps, boxes, classes=None, names=("Mass", "Nodule"), logits=None):
    """What a trial stores: one image a map; ``boxes`` lists the real boxes of each, corners in pixels."""
    maps = np.asarray(maps, np.float16)
    count = len(maps)
    flat = [box for own in boxes for box in own]
    return {
        "localization_cams": maps,
        "localization_side": np.asarray(maps.shape[-1]),
        "localization_class": np.asarray(classes if classes is not None else [0] * count, np.int16),
        "localization_class_names": np.array([n.encode() for n in names]),
        "localization_image": np.arange(count, dtype=np.int32),
        "localization_logits": np.zeros((count, len(names)), np.float32) if logits is None else np.asarray(logits),
        "localization_boxes": np.asarray(flat, np.float64).reshape(-1, 4) / maps.shape[-1],
        "localization_box_pair": np.repeat(np.arange(count), [len(own) for own in boxes]).astype(np.int32),
    }


def block(*regions, value=1.0):
    """A map that is ``value`` inside half-open rectangles x₀, y₀, x₁, y₁ and 0 elsewhere."""
    image = np.zeros((SIDE, SIDE), np.float32)
    for x0, y0, x1, y1, *own in regions:
        image[y0:y1, x0:x1] = own[0] if own else value
    return image


def accuracy(arrays, **options):
    return list(rescore(arrays, Localization(**options)).accuracy.values())


def test_one_box_is_found_up_to_the_overlap_that_it_has():
    # predicted 8×8 = 64, real 8×16 = 128, shared 64: IoU one half, IoBB one
    arrays = stored([block((4, 4, 12, 12))], [[(4, 4, 12, 20)]])
    assert accuracy(arrays) == [1, 1, 1, 1, 1, 0]
    assert accuracy(arrays, overlap="iobb") == [1, 1, 1, 1, 1, 1]
    assert rescore(arrays).boxes == 2.0  # one at each threshold
    assert rescore(arrays).overlap == pytest.approx([0.5])


def test_of_two_components_any_may_hit_but_the_largest_or_the_highest_alone_may_miss():
    small_high, large_low = (2, 2, 6, 6, 1.0), (12, 12, 28, 28, 0.8)
    on_small = stored([block(small_high, large_low)], [[(2, 2, 6, 6)]])
    on_large = stored([block(small_high, large_low)], [[(12, 12, 28, 28)]])
    for component, small, large in (("any", 1, 1), ("largest", 0, 1), ("highest", 1, 0)):
        assert accuracy(on_small, component=component) == [small] * 6
        assert accuracy(on_large, component=component) == [large] * 6
    assert rescore(on_small).boxes == 4.0
    assert rescore(on_small, Localization(component="largest")).boxes == 2.0


def test_with_two_real_boxes_a_pair_is_found_by_either_and_a_box_counts_alone():
    arrays = stored([block((2, 2, 10, 10))], [[(2, 2, 10, 10), (20, 20, 30, 30)]])
    assert accuracy(arrays) == [1] * 6
    assert accuracy(arrays, unit="box") == [0.5] * 6
    assert rescore(arrays, Localization(unit="box")).units == {"Mass": 2}


@pytest.mark.parametrize("level", [-1.0, 0.0, 0.7])
def test_an_empty_or_constant_map_is_a_miss_without_boxes(level):
    arrays = stored([np.full((SIDE, SIDE), level)], [[(0, 0, SIDE, SIDE)]])
    assert accuracy(arrays) == [0] * 6
    assert rescore(arrays).boxes == 0.0


def test_a_map_that_is_evidence_all_over_scores_the_share_of_the_image_that_the_box_fills():
    flat = np.ones((SIDE, SIDE), np.float32)
    flat[0, 0] = 0.0  # else there is nothing to normalise
    # box 16×16 of 32×32: IoU 1/4; box 24×24: 9/16
    arrays = stored([flat, flat], [[(8, 8, 24, 24)], [(4, 4, 28, 28)]])
    assert accuracy(arrays) == [1, 1, 0.5, 0.5, 0.5, 0]


def test_a_region_on_the_border_has_a_half_open_box_inside_the_image():
    boxes = region_boxes(block((24, 0, 32, 5))[None], 60, 8, "any")
    assert boxes.corners.tolist() == [[24, 0, 32, 5]]
    assert boxes.area.tolist() == [40]
    assert accuracy(stored([block((24, 0, 32, 5))], [[(24, 0, 32, 5)]])) == [1] * 6


def test_inclusive_areas_count_one_more_pixel_a_side():
    a, b = np.array([[0.0, 0, 4, 4]]), np.array([[2.0, 0, 6, 4]])
    assert overlaps(a, b) == pytest.approx([8 / 24])
    assert overlaps(a, b, inclusive=True) == pytest.approx([15 / 35])  # 3×5 of two 5×5


def test_regions_that_touch_at_a_corner_are_one_of_eight_and_two_of_four_neighbours():
    image = block((4, 4, 8, 8), (8, 8, 12, 12))[None]
    assert len(region_boxes(image, 60, 8, "any")) == 1
    assert len(region_boxes(image, 60, 4, "any")) == 2


def test_boxes_found_once_a_threshold_are_those_found_each_time_and_know_their_highest_activation() -> None:
    cams = np.random.Generator(np.random.PCG64(4)).normal(size=(70, 7, 7)).astype(np.float16)
    regions, maps = Regions(cams, 28, 8, "any"), activations(cams, 28)
    for threshold in (60, 180):
        expected, found = region_boxes(maps, threshold, 8, "any"), regions.above(threshold)
        assert found is regions.above(threshold)
        assert all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in vars(expected))
        labels = [ndimage.label(one * np.float32(255) > threshold, np.ones((3, 3)))[0] for one in maps]
        peaks = [
            one[label == n].max() for one, label in zip(maps, labels, strict=True) for n in range(1, label.max() + 1)
        ]
        assert np.array_equal(found.peak, np.array(peaks, np.float32))


def test_regions_never_reach_from_one_map_into_the_next():
    boxes = region_boxes(np.stack([block((4, 4, 12, 12))] * 130), 60, 8, "any")
    assert boxes.map.tolist() == list(range(130))


def test_each_threshold_alone_their_mean_the_best_and_both_together():
    # the rim lies between the thresholds: at 60 the box is 16×16, at 180 8×8; the real one is the small one
    image = block((8, 8, 24, 24, 0.5), (12, 12, 20, 20, 1.0))
    arrays = stored([image], [[(12, 12, 20, 20)]])
    alone = {t: accuracy(arrays, thresholds=(t,)) for t in (60, 180)}
    assert alone == {60: [1, 1, 0, 0, 0, 0], 180: [1] * 6}
    assert accuracy(arrays, threshold_rule="both") == [1] * 6
    assert accuracy(arrays, threshold_rule="each") == [1, 1, 0.5, 0.5, 0.5, 0.5]
    assert accuracy(arrays, threshold_rule="best") == [1] * 6
    logged = variants(arrays, Localization())
    assert (logged["threshold_60"], logged["threshold_180"]) == (alone[60], alone[180])


def test_macro_weighs_classes_and_micro_pairs_and_a_class_without_pairs_is_left_out():
    hit, miss, box = block((4, 4, 12, 12)), block((20, 20, 28, 28)), [(4, 4, 12, 12)]
    arrays = stored([hit, hit, hit, miss], [box] * 4, classes=[0, 0, 0, 1], names=("Mass", "Nodule", "Hernia"))
    assert accuracy(arrays) == [0.5] * 6
    assert accuracy(arrays, average="micro") == [0.75] * 6
    assert rescore(arrays).units == {"Mass": 3, "Nodule": 1}


def test_only_predicted_pairs_count_when_asked_for():
    hit, miss, box = block((4, 4, 12, 12)), block((20, 20, 28, 28)), [(4, 4, 12, 12)]
    arrays = stored([hit, miss], [box] * 2, logits=[[2.0, 0], [-2.0, 0]])
    assert accuracy(arrays) == [0.5] * 6
    assert accuracy(arrays, denominator="predicted") == [1] * 6
    assert np.isnan(accuracy(arrays, denominator="predicted", predicted_from=0.99)).all()


# ---- a reference that shares nothing with the code: flood fill, plain loops, one box at a time


def flood(mask, diagonal):
    steps = [(a, b) for a, b in product((-1, 0, 1), repeat=2) if (a or b) and (diagonal or not (a and b))]
    seen, found = set(), []
    for y, x in product(range(len(mask)), range(len(mask[0]))):
        if not mask[y][x] or (y, x) in seen:
            continue
        region, queue = [], deque([(y, x)])
        seen.add((y, x))
        while queue:
            cy, cx = queue.popleft()
            region.append((cy, cx))
            for dy, dx in steps:
                place = cy + dy, cx + dx
                inside = 0 <= place[0] < len(mask) and 0 <= place[1] < len(mask[0])
                if inside and mask[place[0]][place[1]] and place not in seen:
                    seen.add(place)
                    queue.append(place)
        found.append(region)
    return found


def bilinear(cam, side):
    size = len(cam)
    place = [min(max((i + 0.5) * size / side - 0.5, 0.0), size - 1.0) for i in range(side)]
    matrix = np.zeros((side, size))
    for i, p in enumerate(place):
        low = min(int(p), size - 2)
        matrix[i, low], matrix[i, low + 1] = 1 - (p - low), p - low
    return matrix @ cam @ matrix.T


def by_hand(cam, side, real, diagonal, component, inclusive):
    """IoU of the best box of one map with one real box at each threshold, and how many boxes there were."""
    fine = bilinear(np.maximum(cam, 0.0), side)
    best, count, more = [], 0, 1.0 if inclusive else 0.0
    for threshold in (60, 180):
        if fine.max() <= fine.min():
            best.append(0.0)
            continue
        level = (fine - fine.min()) / (fine.max() - fine.min())
        regions = flood((level * 255 > threshold).tolist(), diagonal)
        if component == "largest" and regions:
            regions = [max(regions, key=len)]
        if component == "highest" and regions:
            regions = [max(regions, key=lambda region: max(level[y, x] for y, x in region))]
        count += len(regions)
        here = 0.0
        for region in regions:
            ys, xs = [y for y, _ in region], [x for _, x in region]
            box = min(xs), min(ys), max(xs) + 1, max(ys) + 1
            wide = min(box[2], real[2]) - max(box[0], real[0]) + more
            high = min(box[3], real[3]) - max(box[1], real[1]) + more
            shared = max(wide, 0) * max(high, 0)
            areas = [(b[2] - b[0] + more) * (b[3] - b[1] + more) for b in (box, real)]
            here = max(here, shared / (sum(areas) - shared))
        best.append(here)
    return best, count


@pytest.mark.parametrize(
    ("connectivity", "component", "areas"),
    [(8, "any", "half_open"), (4, "largest", "half_open"), (8, "highest", "inclusive")],
)
def test_two_hundred_random_maps_score_as_by_brute_force(connectivity, component, areas):
    generator = np.random.default_rng(7)
    count, side = 200, 24
    cams = generator.normal(0.0, 1.0, (count, 8, 8)).astype(np.float16)
    cams[3], cams[4] = -1.0, 0.5  # empty and constant
    corner = generator.uniform(0, side - 8, (count, 2))
    real = np.hstack([corner, corner + generator.uniform(2, 8, (count, 2))])
    classes = generator.integers(0, 2, count)
    arrays = stored(cams, [[box] for box in real * 8 / side], classes=classes)
    arrays["localization_side"] = np.asarray(side)
    reference = [
        by_hand(c.astype(float), side, r, connectivity == 8, component, areas == "inclusive")
        for c, r in zip(cams, real, strict=True)
    ]
    best = np.array([b for b, _ in reference])
    options = {"connectivity": connectivity, "component": component, "areas": areas}
    for rule, pick in (("both", best.max(axis=1)), ("60", best[:, 0]), ("180", best[:, 1])):
        chosen = options if rule == "both" else {**options, "thresholds": (int(rule),)}
        expected = [np.mean([(pick[classes == k] >= d).mean() for k in (0, 1)]) for d in DELTAS]
        assert accuracy(arrays, **chosen) == pytest.approx(expected)
    assert rescore(arrays, Localization(**options)).boxes == pytest.approx(sum(n for _, n in reference) / count)
    assert 0.0 < accuracy(arrays, **options)[2] < 1.0


# ---- maps of real networks


def hand_written(classifier, images, targets, level):
    features = classifier.backbone.encode(images.expand(-1, 3, -1, -1))
    logits = classifier.head(features[-1].mean(dim=(2, 3)))
    picked = logits[torch.arange(len(targets)), targets].sum()
    gradient = torch.autograd.grad(picked, features[level])[0]
    return (gradient.mean(dim=(2, 3), keepdim=True) * features[level]).sum(dim=1), logits


@pytest.mark.parametrize("level", [0, 1, 2])
def test_captum_gives_the_map_that_hooks_and_autograd_give(level):
    classifier = Classifier(TinyBackbone(3), 5, 0.1, torch.Generator().manual_seed(0)).eval()
    images = torch.rand(70, 1, 32, 32, generator=torch.Generator().manual_seed(1))  # two batches
    targets = torch.arange(70) % 5
    maps, logits = grad_cam(classifier, images, targets, level)
    expected, given = hand_written(classifier, images, targets, level)
    assert torch.allclose(maps, expected.detach(), atol=1e-7, rtol=1e-5)
    assert torch.allclose(logits, given.detach(), atol=1e-6)
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_the_coarsest_map_of_at_least_seven_pixels_is_looked_at():
    assert choose_level([112, 56, 28, 14, 7], "auto", 7) == 4  # stride 32 at 224 px
    assert choose_level([16, 8, 4, 2, 1], "auto", 7) == 1  # stride 4 at 32 px
    with pytest.raises(ConfigurationError, match="at least 7"):
        choose_level([4, 2], "auto", 7)
    with pytest.raises(ConfigurationError, match="levels 0 to 1"):
        choose_level([4, 2], 5, 7)


class _TwoStrides(nn.Module):
    """Stride 4, 8×8 at 32 px: the resolution of the miniature's maps."""

    dimensions, in_channels, channels, strides, decoder_channels = 2, 1, (16, 24), (2, 4), 1

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3, 2, 1), nn.Conv2d(16, 24, 3, 2, 1)
        generator = torch.Generator().manual_seed(0)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        first = torch.relu(self.first(images))
        return first, torch.relu(self.second(first))


def planted(count, generator):
    """Noise with a bright (class 0) or a striped (class 1) square of 10 to 14 px; returns images, labels and boxes."""
    images = torch.rand(count, 1, 32, 32, generator=generator) * 0.2 + 0.3
    labels = torch.zeros(count, 2)
    boxes = torch.zeros(count, 2, 4)
    for i in range(count):
        for kind, low in ((0, 0), (1, 16)):  # one half of the image each, so that they never cover one another
            if torch.rand(1, generator=generator) < 0.5:
                continue
            side = int(torch.randint(10, 15, (1,), generator=generator))
            x = int(torch.randint(0, 33 - side, (1,), generator=generator))
            y = low + int(torch.randint(0, 17 - side, (1,), generator=generator))
            patch = torch.full((side, side), 1.0)
            if kind:
                patch[:, ::2] = 0.0
            images[i, 0, y : y + side, x : x + side] = patch
            labels[i, kind] = 1
            boxes[i, kind] = torch.tensor([x, y, x + side, y + side])
    return images, labels, boxes


def test_a_classifier_trained_on_planted_evidence_finds_it():
    generator = torch.Generator().manual_seed(4)
    images, labels, _ = planted(512, generator)
    classifier = Classifier(_TwoStrides(), 2, 0.01, generator)
    optimiser = torch.optim.Adam(classifier.parameters(), lr=0.01)
    for step in range(150):
        part = torch.arange(step * 64, step * 64 + 64) % len(images)
        loss = nn.functional.binary_cross_entropy_with_logits(classifier(images[part]), labels[part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    seen, truth, boxes = planted(128, generator)
    image, target = truth.nonzero(as_tuple=True)
    maps, _ = grad_cam(classifier.eval(), seen[image], target, 1)
    arrays = stored(maps.numpy(), [[tuple(box)] for box in boxes[image, target].numpy() / 4], classes=target.numpy())
    arrays["localization_side"] = np.asarray(32)
    assert rescore(arrays).accuracy[0.3] >= 0.9
    elsewhere = {**arrays, "localization_boxes": np.roll(arrays["localization_boxes"], 7, axis=0)}
    assert rescore(elsewhere).accuracy[0.3] < 0.6  # the boxes of other images are not found


def test_a_classifier_that_looks_at_nothing_has_constant_maps_and_finds_nothing():
    classifier = Classifier(_TwoStrides(), 2, 0.01, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for layer in (classifier.backbone.first, classifier.backbone.second):
            layer.weight.zero_()
            layer.bias.fill_(0.5)
        classifier.head.weight.fill_(1.0)
    maps, _ = grad_cam(classifier, torch.rand(4, 1, 32, 32), torch.zeros(4, dtype=torch.long), 1)
    assert maps.unique().numel() == 1
    assert not activations(maps.numpy(), 32).any()
    assert accuracy(stored(maps.numpy(), [[(0, 0, 8, 8)]] * 4)) == [0] * 6


# ---- the trial


def run(cohort, folder: Path, **changes):
    plan = plan_of("chestxray14", **changes.pop("transfer", {}))
    context = Context(device="cpu", folder=folder, inputs={"cohort": cohort}, resume=folder)
    return run_trial(trial_spec("chestxray14", plan, **changes), context)


def test_a_trial_stores_what_gives_its_values_again_and_a_label_fraction_has_none(cohorts, tmp_path):
    full = run(cohorts["chestxray14"], tmp_path, transfer={"localization": {"least_side": 4}})
    options = parse({"least_side": 4})
    assert rescore(full.arrays, options).values == {name: full.values[name] for name in options.metrics}
    assert full.arrays["localization_cams"].dtype == np.float16
    boxes = Pixels(cohorts["chestxray14"]).boxes
    assert len(full.arrays["localization_cams"]) == len(boxes.drop_duplicates(["row", "label"]))
    assert sum(full.facts["localization"]["pairs"].values()) == len(boxes.drop_duplicates(["row", "label"]))
    assert full.facts["localization"]["map_px"] == 4
    some = run(cohorts["chestxray14"], tmp_path, fraction=0.5)
    assert set(some.values) == {"auc", "scored_classes"}
    assert not [name for name in some.arrays if name.startswith("localization")]
    with pytest.raises(DataError, match="stored no evidence maps"):
        rescore(some.arrays)


def test_boxes_of_a_centre_crop_overlap_as_in_the_whole_image(cohorts, tmp_path):
    views = {"resize": (32, 0.0), "centre_crop": (64, 16.0)}
    found = {}
    for view, (resized, offset) in views.items():
        change = {"localization": {"view": view}, "resize_px": 64}
        arrays = run(cohorts["chestxray14"], tmp_path, transfer=change).arrays
        found[view] = (arrays["localization_boxes"] * 32 + offset) / resized
    assert found["resize"] == pytest.approx(found["centre_crop"])


def test_a_box_of_an_unknown_label_ends_in_one_sentence(cohorts, tmp_path):
    pixels = Pixels(cohorts["chestxray14"])
    wrong = pixels.boxes.assign(label="Fracture")
    pixels.__dict__["boxes"] = wrong
    with pytest.raises(DataError, match="boxes of Fracture"):
        score_localization(
            None, pixels, pixels.rows("test"), np.zeros((1, 1)), np.zeros((1, 1)), ["Mass"],
            read_transfer(plan_of("chestxray14").transfer), "cpu",
        )  # fmt: skip


@pytest.mark.parametrize("bad", [{"threshold_rule": "all"}, {"deltas": []}, {"thresholds": [60, 60]}, {"layer": 4}])
def test_an_option_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ConfigurationError, match="localization"):
        parse(bad)


def test_the_box_that_comes_nearest_is_kept_for_a_picture():
    # two regions and two real boxes: the second region fits the second real box exactly
    image, nothing = block((2, 2, 10, 10), (20, 20, 28, 28)), np.zeros((SIDE, SIDE))
    scores = rescore(stored([image, nothing], [[(2, 2, 10, 6), (20, 20, 28, 28)], [(0, 0, 4, 4)]]))
    assert scores.found[0] * SIDE == pytest.approx([20, 20, 28, 28])
    assert np.isnan(scores.found[1]).all()
    assert scores.overlap == pytest.approx([1.0, 0.0])
