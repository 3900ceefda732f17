"""What is measured to say whether a pretext task was learnt, against laws and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.descriptions import PretrainingDescription
from harness.gates import judge, read_gates, verdicts
from methods.phases import ImageViews
from methods.supervised import area_under_roc
from methods.training.measurements import (
    held_out_views,
    nearest_is_own,
    on_diagonal,
    own_key_entropy,
    spread,
)
from tests.methods.conftest import REGISTRY
from tests.methods.phantom_pixels import write_pixels
from tests.methods.pretraining import configurations, train


def _numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def test_a_perfect_embedding_finds_every_own_key_and_a_collapsed_one_none():
    query = _numbers(64, 16)
    assert nearest_is_own(query, 3.0 * query).all()
    assert not nearest_is_own(torch.ones(64, 16), torch.ones(64, 16)).any()


def test_own_keys_are_found_in_spite_of_a_direction_that_all_embeddings_share():
    query = _numbers(64, 16)
    shared = 100.0 * torch.ones(16)
    assert nearest_is_own(query + shared, query + 0.01 * _numbers(64, 16, seed=1) + shared).all()


def test_unrelated_embeddings_find_their_own_key_as_often_as_chance():
    found = [
        nearest_is_own(_numbers(256, 8, seed=s), _numbers(256, 8, seed=1000 + s)).float().mean() for s in range(40)
    ]
    share = float(torch.stack(found).mean())  # 40 × 256 draws of p = 1/256: standard error 0.0006
    assert share == pytest.approx(1 / 256, abs=0.0025)


def test_collapsed_embeddings_have_the_entropy_of_chance_and_perfect_ones_less():
    same = torch.ones(256, 8)
    assert float(own_key_entropy(same, same, 0.2).mean()) == pytest.approx(math.log(256), rel=1e-6)
    orthogonal = torch.eye(8)
    expected = -math.log(math.exp(5) / (math.exp(5) + 7))  # cosines 1 and 0 over τ = 0.2
    assert float(own_key_entropy(orthogonal, orthogonal, 0.2).mean()) == pytest.approx(expected, rel=1e-5)


def test_spread_is_one_for_isotropic_embeddings_and_zero_for_collapsed_ones():
    assert spread(_numbers(4000, 32)) == pytest.approx(1.0, abs=0.02)
    assert spread(torch.ones(100, 32)) == pytest.approx(0.0, abs=1e-6)


def test_the_diagonal_correlates_with_itself_fully_and_with_noise_not_at_all():
    query = _numbers(4000, 16)
    assert on_diagonal(query, 2 * query + 5) == pytest.approx(1.0, abs=1e-5)
    assert on_diagonal(query, _numbers(4000, 16, seed=1)) == pytest.approx(0.0, abs=0.02)


def test_held_out_views_are_whole_batches_of_256_and_always_the_same():
    images = np.random.default_rng(0).integers(0, 256, (600, 32, 32), dtype=np.uint8)
    configured = ImageViews(image_px=32, distortion=True)
    views = held_out_views(images, np.arange(600), 7, configured)
    assert set(views) == {"undistorted", "distorted"}
    assert (views["distorted"].images, views["distorted"].among) == (512, 256)
    once, again = list(views["distorted"].batches()), list(views["distorted"].batches())
    assert [len(made[0]) for made in once] == [256, 256]
    assert all(torch.equal(a, b) for one, two in zip(once, again, strict=True) for a, b in zip(one, two, strict=True))


def test_the_area_under_the_curve_counts_pairs_in_order_and_ties_half():
    assert area_under_roc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert area_under_roc(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == 0.75


@pytest.mark.parametrize("base", ["moco_v2", "barlow_twins", "simsiam"])
def test_a_method_that_learns_next_to_nothing_fails_every_gate_of_learning(base, tmp_path):
    cohort = write_pixels(tmp_path / "cohort", train=64, validation=256, px=32)
    configuration = configurations(steps=4, discrimination=base)["dis+res+adv"]
    for rate in {"learning_rate", "one_dimensional_rate"} & configuration["optimiser"].keys():
        configuration["optimiser"][rate] = 1e-30
    configuration["start"] = "fresh"
    outcome = train(configuration, tmp_path / "phase", cohort)
    phase = {"name": "dis+res+adv", "configuration": configuration, **outcome.facts}
    told = {"method": base, "pretraining_seeds": [{"pretrain_seed": 0, "phases": [phase]}]}
    rows = judge(PretrainingDescription.model_validate(told), read_gates(REGISTRY.parent / "gates.yaml"), "test")
    failed = {(row.measure, row.views) for row in rows if row.passed is False}
    learning = {
        ("own_key", "undistorted"),
        ("restoration_over_mean", "distorted"),
        ("restoration_over_copy", "distorted"),
    }
    assert failed >= learning | ({("key_cross_entropy", "undistorted")} if base == "moco_v2" else set())
    assert verdicts(rows)[base].word == "not learnt"
