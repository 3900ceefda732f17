"""A metric is a value: what it computes against independent derivations, and what it says of itself."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score, roc_curve

from harness.errors import ConfigurationError
from harness.metrics import Classified, Metric, OfMasks, Segmented, metric_of, out_of_bounds
from harness.metrics.distance import hausdorff_95
from harness.metrics.overlap import BINS, GRID, PixelCounts
from harness.metrics.registered import (
    AUC,
    AVERAGE_PRECISION,
    DICE,
    DICE_POOLED,
    ECE,
    HD95,
    IOU,
    KNOWN,
    PIXEL_AVERAGE_PRECISION,
    localization,
    sensitivity_at_specificity,
)  # fmt: skip

WEIGHTS = "harness.metrics.resampling.weight_blocks"


def classified(seed=0, cases=120, classes=3):
    generator = np.random.default_rng(seed)
    labels = (generator.random((cases, classes)) < 0.3).astype(np.float32)
    scores = np.round(np.clip(0.2 * labels + generator.random((cases, classes)) * 0.8, 0, 1), 2).astype(np.float32)
    return Classified(labels, scores)


def segmented(seed=0, cases=40):
    generator = np.random.default_rng(seed)
    true = generator.integers(1, 100, cases) * (generator.random(cases) < 0.7)
    thresholds = np.unique(np.append(GRID, 0.5))
    predicted = np.sort(generator.integers(0, 120, (cases, len(thresholds))), axis=1)[:, ::-1]
    predicted = predicted * (generator.random((cases, 1)) < 0.8)
    overlap = np.minimum(predicted, true[:, None])
    histograms = generator.integers(0, 9, (2, BINS))
    counts = PixelCounts(overlap, predicted, true, thresholds, *histograms)
    measured = {"hd95": generator.random(cases)}
    return Segmented.of(counts, 0.5, 1.0, validation=counts, pixels=400, measured=measured)


def border(mask, spacing):
    """Middles, in millimetres, of the foreground pixels with a neighbour, by an edge, outside the mask or the image."""
    points = []
    for place in np.argwhere(mask):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                beside = place.copy()
                beside[axis] += step
                outside = not 0 <= beside[axis] < mask.shape[axis]
                if outside or not mask[tuple(beside)]:
                    points.append(tuple(place))
    return np.array(sorted(set(points))) * np.asarray(spacing)


@pytest.mark.parametrize(("shape", "spacing"), [((14, 17), (0.7, 2.5)), ((7, 9, 6), (1.0, 0.5, 3.0))])
def test_hd95_is_what_all_pairs_of_surface_pixels_give(shape, spacing):
    generator = np.random.default_rng(len(shape))
    for _ in range(10):
        one, other = (generator.random(shape) < share for share in (0.2, 0.4))
        apart = cdist(border(one, spacing), border(other, spacing))
        brute = max(np.percentile(apart.min(axis=axis), 95) for axis in (0, 1))
        assert hausdorff_95(one, other, spacing) == pytest.approx(brute, abs=1e-9)
        assert hausdorff_95(one, other, spacing) == hausdorff_95(other, one, spacing)


def test_hd95_of_a_square_moved_by_two_pixels_of_half_a_millimetre_is_a_millimetre():
    one, other = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    one[5:10, 5:10] = other[7:12, 5:10] = True
    assert hausdorff_95(one, other, (0.5, 0.5)) == pytest.approx(1.0)


def test_hd95_declares_what_empty_masks_count():
    something, nothing = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    something[1, 1] = True
    assert hausdorff_95(nothing, nothing, (1.0, 2.0)) == 0.0
    diagonal = math.hypot(3 * 1.0, 4 * 2.0)
    assert hausdorff_95(something, nothing, (1.0, 2.0)) == hausdorff_95(nothing, something, (1.0, 2.0)) == diagonal


def test_average_precision_and_sensitivity_are_scikit_learns():
    cases = classified()
    columns = list(zip(cases.labels.T, cases.scores.T, strict=True))
    assert AVERAGE_PRECISION.value(cases) == pytest.approx(
        np.mean([average_precision_score(labels, scores) for labels, scores in columns]), abs=1e-12
    )
    found = []
    for labels, scores in columns:
        false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
        found.append(true[false <= 0.1 + 1e-12].max())
    assert sensitivity_at_specificity(0.9).value(cases) == pytest.approx(np.mean(found), abs=1e-12)


def test_calibration_error_is_the_mean_gap_of_fifteen_bins():
    cases = classified()
    errors = []
    for labels, scores in zip(cases.labels.T.astype(float), cases.scores.T.astype(float), strict=True):
        gaps = []
        for number in range(15):
            low, high = number / 15, (number + 1) / 15
            inside = (scores >= low) & ((scores < high) | (number == 14))
            if inside.any():
                gaps.append(inside.sum() * abs(labels[inside].mean() - scores[inside].mean()))
        errors.append(sum(gaps) / len(scores))
    assert ECE.value(cases) == pytest.approx(np.mean(errors), abs=1e-9)


def test_scores_that_are_the_labels_are_calibrated_and_those_that_are_their_opposite_are_not():
    labels = np.array([[0.0], [1.0], [1.0], [0.0]])
    assert ECE.value(Classified(labels, labels)) == 0.0
    assert ECE.value(Classified(labels, 1 - labels)) == 1.0


@pytest.mark.parametrize("name", ["auc", "average_precision", "ece", "sensitivity_at_specificity_80"])
def test_drawing_a_patient_twice_is_having_the_case_twice(name, monkeypatch):
    cases, metric = classified(cases=60), metric_of(name)
    times = np.random.default_rng(1).integers(0, 3, 60)
    monkeypatch.setattr(WEIGHTS, lambda *_: iter([times[:, None].astype(np.float32)]))
    again = Classified(np.repeat(cases.labels, times, axis=0), np.repeat(cases.scores, times, axis=0))
    assert metric.resample(cases, np.arange(60), 1, 0)[0] == pytest.approx(metric.value(again), abs=1e-12)


@pytest.mark.parametrize("name", ["dice", "dice_positive", "dice_pooled", "iou", "iou_mean", "iou_case_mean", "hd95"])
def test_a_draw_of_every_patient_once_is_the_metric_itself(name, monkeypatch):
    cases, metric = segmented(), metric_of(name)
    monkeypatch.setattr(WEIGHTS, lambda patients, *_: iter([np.ones((len(patients), 1), np.float32)]))
    assert metric.resample(cases, np.arange(40), 1, 0)[0] == pytest.approx(metric.value(cases), abs=1e-12)


def test_every_registered_metric_has_its_own_name_and_a_label_that_is_no_raw_name():
    assert all(name == metric.name for name, metric in KNOWN.items())
    assert all("_" not in metric.label for metric in KNOWN.values())
    assert len({metric.label for metric in KNOWN.values()}) == len(KNOWN)


def test_bounds_are_printed_in_the_unit_and_worst_follows_the_direction():
    assert (AUC.bounds, AUC.worst, AUC.sign) == ((0.0, 100.0), 0.0, 1)
    assert (HD95.bounds, HD95.worst, HD95.sign) == ((0.0, math.inf), math.inf, -1)
    assert (ECE.worst, ECE.printed(0.125)) == (1.0, 12.5)


def test_a_metric_that_no_single_case_makes_has_no_resamples_and_says_so():
    with pytest.raises(ConfigurationError, match="has no patient resamples"):
        PIXEL_AVERAGE_PRECISION.resample(segmented(), np.arange(40), 10, 0)


def test_what_was_not_stored_is_named():
    full = segmented()
    counts = Segmented(full.overlap, full.predicted, full.true, 1.0)
    assert DICE.lacks(counts) == DICE_POOLED.lacks(counts) == IOU.lacks(counts) == ""
    assert "counts at every threshold" in PIXEL_AVERAGE_PRECISION.lacks(counts) and "hd95 of each case" in HD95.lacks(
        counts
    )
    assert AUC.lacks(counts) and localization(0.1).lacks(counts)
    with pytest.raises(ConfigurationError, match='"hd95" cannot be computed: found no hd95 of each case'):
        HD95.value(counts)


def test_a_distance_may_be_large_and_a_share_may_not():
    assert out_of_bounds("hd95", 300.0) == ""
    assert out_of_bounds("hd95", -1.0) == "found hd95 = -1.0, expected a number of mm from 0"
    assert out_of_bounds("hd95", math.inf)
    assert out_of_bounds("dice", 53.0).endswith("a percentage is divided by 100")


OWN = Metric("own", "own", unit="mm", scale=1.0, higher_is_better=False, high=math.inf, computed=OfMasks(hausdorff_95))
NONE_OF_THEM = 3


def test_a_dotted_path_finds_a_metric_and_refuses_anything_else():
    assert metric_of(f"{__name__}:OWN") is OWN
    with pytest.raises(ConfigurationError, match=r"is a int; expected a harness\.metrics\.Metric"):
        metric_of(f"{__name__}:NONE_OF_THEM")
