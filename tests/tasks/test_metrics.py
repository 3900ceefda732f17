from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score

from harness.metrics import Classified, Segmented, metric_of
from harness.metrics.overlap import BINS, GRID, PixelCounts, average_precision
from harness.metrics.ranking import auc_by_class, macro, weighted_auc
from harness.metrics.registered import AUC
from harness.metrics.resampling import patient_weights, resample_mean, resample_ratio, weight_blocks
from tasks.scoring.evaluation import Segmenting, count_pixels


def _scores(seed: int, cases: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.random((cases, 5)) < 0.2, generator.integers(0, levels, (cases, 5)) / levels


@given(st.integers(0, 10_000), st.integers(20, 200), st.sampled_from([2, 5, 1000]))
@settings(max_examples=30, deadline=None)
def test_auc_equals_scikit_learn_with_and_without_ties(seed: int, cases: int, levels: int) -> None:
    labels, scores = _scores(seed, cases, levels)
    found = auc_by_class(labels, scores)
    for column, value in enumerate(found):
        if labels[:, column].any() and not labels[:, column].all():
            assert abs(value - roc_auc_score(labels[:, column], scores[:, column])) < 1e-12
        else:
            assert math.isnan(value)


def test_classes_without_positives_or_negatives_are_left_out_and_counted() -> None:
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    mean, scored = macro(auc_by_class(labels, np.array([[0.9] * 3, [0.1] * 3, [0.5] * 3])))
    assert (mean, scored) == (1.0, 1)
    assert macro(np.array([np.nan]))[1] == 0


def test_a_class_with_one_score_that_is_no_number_is_left_out_and_its_neighbours_are_not() -> None:
    labels, scores = _scores(5, 60, 1000)
    whole = auc_by_class(labels, scores)
    for row in (np.flatnonzero(labels[:, 2])[0], np.flatnonzero(~labels[:, 2])[0]):
        spoilt = scores.copy()
        spoilt[row, 2] = np.nan
        found = auc_by_class(labels, spoilt)
        assert np.isnan(found).tolist() == [False, False, True, False, False]
        assert np.array_equal(found[[0, 1, 3, 4]], whole[[0, 1, 3, 4]])
        assert macro(found) == (pytest.approx(whole[[0, 1, 3, 4]].mean()), 4)


@given(st.integers(0, 1000), st.sampled_from([3, 1000]))
@settings(max_examples=10, deadline=None)
def test_a_weighted_auc_equals_scikit_learn_on_cases_that_are_literally_repeated(seed: int, levels: int) -> None:
    labels, scores = _scores(seed, 80, levels)
    patients = np.arange(80) // 3
    weights = patient_weights(patients, 6, seed)
    macro_auc = AUC.resample(Classified(labels, scores), patients, 6, seed)
    for k in range(6):
        times = weights[:, k].astype(int)
        again, labels_again = np.repeat(scores, times, axis=0), np.repeat(labels, times, axis=0)
        expected = []
        for c in range(labels.shape[1]):
            if 0 < labels_again[:, c].sum() < len(again):
                expected.append(roc_auc_score(labels_again[:, c], again[:, c]))
                assert abs(weighted_auc(labels[:, c], scores[:, c], weights)[k] - expected[-1]) < 1e-12
        assert abs(macro_auc[k] - np.mean(expected)) < 1e-12


def test_a_patients_cases_are_drawn_together_and_each_resample_draws_as_many_patients_as_there_are() -> None:
    patients = np.repeat(np.arange(30), 4)
    weights = patient_weights(patients, 50, 3)
    per_patient = weights.reshape(30, 4, 50)
    assert (per_patient == per_patient[:, :1]).all()
    assert (per_patient[:, 0].sum(axis=0) == 30).all()
    assert not np.array_equal(weights, patient_weights(patients, 50, 4))


def test_resamples_do_not_depend_on_how_many_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores = _scores(1, 60, 1000)
    whole = AUC.resample(Classified(labels, scores), np.arange(60), 40, 5)
    monkeypatch.setattr("harness.metrics.resampling.CHUNK", 180)
    assert np.array_equal(whole, AUC.resample(Classified(labels, scores), np.arange(60), 40, 5))


@pytest.mark.parametrize("count", [1, 2, 30, 2797])
def test_patients_drawn_in_blocks_are_the_patients_drawn_at_once(count: int) -> None:
    patients = np.arange(count)
    blocks = list(weight_blocks(patients, 50, 7, 7))
    assert [block.shape[1] for block in blocks] == [7] * 7 + [1]
    assert np.array_equal(np.concatenate(blocks, axis=1), patient_weights(patients, 50, 7))


def test_sums_over_more_weights_than_are_held_at_once_are_those_of_every_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.Generator(np.random.PCG64(3))
    above, below, patients = generator.integers(0, 50, 90), generator.integers(50, 99, 90), np.arange(90) // 2
    values = np.where(generator.random(90) < 0.2, np.nan, above.astype(float))
    weights = patient_weights(patients, 64, 2).astype(float)
    monkeypatch.setattr("harness.metrics.resampling.WHOLE", 0)
    monkeypatch.setattr("harness.metrics.resampling.CHUNK", 900)
    kept = ~np.isnan(values)
    means = (values[kept, None] * weights[kept]).sum(axis=0) / weights[kept].sum(axis=0)
    assert resample_mean(values, patients, 64, 2) == pytest.approx(means, rel=1e-12)
    ratios = (above[:, None] * weights).sum(axis=0) / (below[:, None] * weights).sum(axis=0)
    assert resample_ratio(above.astype(float), below.astype(float), patients, 64, 2) == pytest.approx(ratios, rel=1e-12)


def test_the_spread_of_resampled_means_is_the_standard_error_of_the_mean() -> None:
    values = np.random.Generator(np.random.PCG64(0)).normal(size=400)
    found = resample_mean(values, np.arange(400), 4000, 1)
    assert found.std() == pytest.approx(values.std() / 20, rel=0.05)
    assert found.mean() == pytest.approx(values.mean(), abs=0.01)


def test_a_pooled_ratio_is_of_sums_and_not_a_mean_of_ratios() -> None:
    found = resample_ratio(np.array([1.0, 30.0]), np.array([10.0, 40.0]), np.array(["a", "b"]), 200, 0)
    assert set(np.round(found, 6)) <= {0.1, 0.62, 0.75}


def _counts(probability: np.ndarray, masks: np.ndarray) -> PixelCounts:
    thresholds = np.unique(np.append(GRID, 0.5))
    reached = probability[..., None] >= thresholds
    flat = (len(masks), -1, len(thresholds))
    overlap = (reached & (masks[..., None] > 0)).reshape(flat).sum(axis=1)
    level = np.round(probability * (BINS - 1)).astype(int)
    histograms = [np.bincount(level[masks == v], minlength=BINS) for v in (1, 0)]
    return PixelCounts(overlap, reached.reshape(flat).sum(1), masks.sum((1, 2)), thresholds, *histograms)


def segmentation_scores(counts: PixelCounts, empty_score: float) -> dict[str, float]:
    cases = Segmented.of(counts, 0.5, empty_score, validation=counts)
    names = (
        "dice",
        "dice_positive",
        "dice_pooled",
        "iou",
        "iou_mean",
        "pixel_average_precision",
        "dice_best_threshold",
    )
    return {name: metric_of(name).value(cases) for name in names}


def test_segmentation_scores_equal_scikit_learns_on_the_pixels_themselves() -> None:
    generator = np.random.Generator(np.random.PCG64(7))
    masks = (generator.random((6, 9, 9)) < 0.3).astype(int)
    masks[2] = 0
    probability = np.round(np.clip(0.5 * masks + 0.6 * generator.random(masks.shape), 0, 1) * (BINS - 1)) / (BINS - 1)
    probability[2] = 0.1
    counts = _counts(probability, masks)
    scores = segmentation_scores(counts, 1.0)
    predicted = (probability >= 0.5).astype(int)
    by_image = [f1_score(m.ravel(), p.ravel()) for m, p in zip(masks, predicted, strict=True) if m.any()]
    assert scores["dice"] == pytest.approx((sum(by_image) + 1.0) / 6, abs=1e-12)
    assert scores["dice_positive"] == pytest.approx(np.mean(by_image), abs=1e-12)
    assert scores["dice_pooled"] == pytest.approx(f1_score(masks.ravel(), predicted.ravel()), abs=1e-12)
    assert scores["iou"] == pytest.approx(jaccard_score(masks.ravel(), predicted.ravel()), abs=1e-12)
    precision = average_precision_score(masks.ravel(), probability.ravel())
    assert scores["pixel_average_precision"] == pytest.approx(precision, abs=1e-12)
    assert scores["dice_best_threshold"] >= scores["dice"] - 1e-12


@pytest.mark.parametrize("part", [1, 4, 7, 50])
def test_the_validation_loss_is_the_mean_of_the_batches_dice_weighted_by_their_images(part: int) -> None:
    """As the authors' loop logs it: batch i of b images adds bᵢ times its soft Dice, divided by all images at the end."""
    generator = np.random.Generator(np.random.PCG64(3))
    masks = (generator.random((10, 8, 8)) < generator.random((10, 1, 1)) ** 4).astype(np.uint8)
    logits = generator.normal(-2, 2, (10, 8, 8)).astype(np.float32)

    def parts() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for start in range(0, 10, part):
            yield torch.from_numpy(logits[start : start + part, None]), torch.from_numpy(masks[start : start + part])

    losses = {
        size: count_pixels(torch.nn.Identity(), parts(), 10, Segmenting(0.5, 1.0, together=size), "cpu")[1]
        for size in (4, 10, 32, None)
    }
    probability = 1 / (1 + np.exp(-logits.astype(float)))

    def soft(group: slice) -> float:
        p, g = probability[group], masks[group]
        return 1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1)

    by_batch = [soft(slice(0, 4)), soft(slice(4, 8)), soft(slice(8, 10))]
    assert losses[4] == pytest.approx(np.average(by_batch, weights=[4, 4, 2]), abs=1e-6)
    assert losses[None] == pytest.approx(soft(slice(None)), abs=1e-6)
    assert losses[None] == losses[10] == losses[32] and abs(losses[4] - losses[None]) > 0.001


def test_an_always_empty_prediction_scores_the_share_of_empty_masks_under_the_empty_rule() -> None:
    masks = np.zeros((10, 4, 4), int)
    masks[:3, 1, 1] = 1
    counts = _counts(np.full(masks.shape, 0.01), masks)
    assert segmentation_scores(counts, 1.0)["dice"] == pytest.approx(0.7)
    assert segmentation_scores(counts, 0.0)["dice"] == 0.0
    assert segmentation_scores(counts, 1.0)["dice_positive"] == 0.0


def test_average_precision_without_positives_is_undefined() -> None:
    assert math.isnan(average_precision(np.zeros(BINS, int), np.ones(BINS, int)))
