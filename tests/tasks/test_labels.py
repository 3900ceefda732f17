from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from harness.metrics.ranking import auc_by_class
from tasks.scoring.evaluation import cross_entropy
from tasks.transfer.labels import RANGES, training_targets, validation_auc, validation_targets

STATES = np.tile(np.array([[1, 0, -1]], np.float32), (400, 1))
SAMPLES, EPOCHS = np.arange(400), np.zeros(400, int)


@pytest.mark.parametrize("policy", [*RANGES, "ignore", None])
def test_certain_labels_stay_under_every_policy(policy: str | None) -> None:
    targets, _ = training_targets(STATES, policy, 5, EPOCHS, SAMPLES)
    assert (targets[:, 0] == 1).all() and (targets[:, 1] == 0).all() and targets.dtype == np.float32


@pytest.mark.parametrize(("policy", "low", "high"), [("lsr_ones", 0.55, 0.85), ("lsr_zeros", 0.0, 0.3)])
def test_smoothed_labels_are_uniform_in_the_papers_range(policy: str, low: float, high: float) -> None:
    targets, weights = training_targets(STATES, policy, 5, EPOCHS, SAMPLES)
    assert weights is None
    assert kstest((targets[:, 2] - low) / (high - low), "uniform").pvalue > 1e-3


def test_a_smoothed_label_belongs_to_seed_epoch_and_sample_alone() -> None:
    def draw(seed: int, epoch: int, samples: np.ndarray) -> np.ndarray:
        return training_targets(STATES[: len(samples)], "lsr_ones", seed, np.full(len(samples), epoch), samples)[0][
            :, 2
        ]

    some = np.array([7, 3, 300])
    assert np.array_equal(draw(5, 0, some), draw(5, 0, SAMPLES)[some])
    assert not (draw(5, 0, some) == draw(5, 1, some)).any()
    assert not (draw(5, 0, some) == draw(6, 0, some)).any()


def test_validation_has_the_means_fixed() -> None:
    expected = {"ones": 1.0, "zeros": 0.0, "lsr_ones": 0.70, "lsr_zeros": 0.15}
    for policy, value in expected.items():
        targets, weights = validation_targets(STATES, policy)
        assert weights is None and targets[:, 2] == pytest.approx(value)


def test_ignored_cells_count_neither_in_the_loss_nor_in_the_auc() -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    states = generator.integers(-1, 2, (60, 3)).astype(np.float32)
    scores = generator.random((60, 3)).astype(np.float32)
    targets, weights = validation_targets(states, "ignore")
    other = np.where(states == -1, generator.random((60, 3)), scores)
    assert cross_entropy(targets, scores, weights) == cross_entropy(targets, other, weights)
    expected = [auc_by_class(states[k, c : c + 1] > 0, scores[k, c : c + 1])[0] for c, k in enumerate((states >= 0).T)]
    assert validation_auc(targets, scores, weights) == pytest.approx(expected, abs=1e-15)
    known = states >= 0
    p = scores.astype(float)[known]
    by_hand = -np.mean(np.where(states[known] > 0, np.log(p), np.log(1 - p)))
    assert cross_entropy(targets, scores, weights) == pytest.approx(by_hand, rel=1e-6)


def test_cross_entropy_of_a_soft_label_is_its_mixture() -> None:
    one, zero = (cross_entropy(np.array([[y]]), np.array([[0.3]])) for y in (1.0, 0.0))
    assert cross_entropy(np.array([[0.7]]), np.array([[0.3]])) == pytest.approx(0.7 * one + 0.3 * zero, rel=1e-12)
