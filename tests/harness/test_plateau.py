"""The plateau against what Keras printed, PyTorch's own scheduler, sequences worked out by hand, and a second writing."""

from __future__ import annotations

import math
import random

import pytest
import torch
from pydantic import ValidationError

from harness.plateau import Plateau, PlateauRule, patience_is_out
from methods.options import Cosine
from methods.profiles import load_profile
from methods.training.optimisers import plateau_of

# Models Genesis, keras/downstream_tasks/lung nodule segmentation.ipynb (commit 12f7feb): the validation losses that a
# training with Keras 2.2.4 printed (patience 6, least fall 1e-4, stop after 50), from its last start on.
PRINTED_LOSSES = """
.29936 .28040 .26571 .24712 .23904 .2461 .2459 .2395 .22408 .2433 .2280 .2540 .2332 .2253 .2390 .2344 .2396 .2411 .2457
.2381 .2309 .2348 .2351 .2368 .2353 .2327 .2368 .2344 .2325 .2345 .2383 .2336 .2378 .2364 .2363 .2357 .2379 .2384 .2392
.2373 .2385 .2375 .2390 .2383 .2388 .2383 .2396 .2396 .2387 .2390 .2395 .2394 .2390 .2390 .2393 .2397 .2395 .2393 .2392
"""
PRINTED_FALLS = {
    15: 5e-4,
    21: 2.5e-4,
    27: 1.25e-4,
    33: 6.25e-5,
    39: 3.125e-5,
    45: 1.5625e-5,
    51: 7.8125e-6,
    57: 3.90625e-6,
}
PRINTED_STOP = 59


def genesis(**changes: object) -> PlateauRule:
    rule = {"factor": 0.5, "patience": 6, "min_delta": 1e-4, "min_lr": 1e-6, "counting": "keras"}
    return PlateauRule.model_validate({**rule, **changes})


def rates(losses: list[float], rule: PlateauRule, rate: float) -> list[float]:
    plateau = Plateau(rate, rule)
    return [rate * plateau.factor_after(loss) for loss in losses]


def falls(found: list[float], rate: float) -> dict[int, float]:
    """Return the epochs, from 1, in which the rate fell, and to what."""
    return {
        epoch: new for epoch, (old, new) in enumerate(zip([rate, *found], found, strict=False), start=1) if new != old
    }


def as_documented(losses: list[float], rule: PlateauRule, rate: float) -> list[float]:
    """What Keras documents, written a second time: "number of epochs with no improvement after which it is reduced".

    For each epoch look back at all the losses since the last fall or improvement, keeping no counter.
    """
    found, improved, last = [], -1, -1
    best = math.inf
    for epoch, loss in enumerate(losses):
        if loss < best - rule.min_delta:
            best, improved = loss, epoch
        if improved != epoch and epoch - max(improved, last) >= max(rule.patience, 1):
            last = epoch
            rate = max(rate * rule.factor, rule.min_lr) if rate > rule.min_lr else rate
        found.append(rate)
    return found


def test_the_rate_falls_in_the_epochs_in_which_keras_printed_that_it_did() -> None:
    losses = [float(loss) for loss in PRINTED_LOSSES.split()]
    assert len(losses) == PRINTED_STOP
    found = falls(rates(losses, genesis(), 1e-3), 1e-3)
    assert found.keys() == PRINTED_FALLS.keys()
    assert all(math.isclose(found[epoch], rate, rel_tol=1e-6) for epoch, rate in PRINTED_FALLS.items())
    in_torch = falls(rates(losses, genesis(counting="torch"), 1e-3), 1e-3)
    assert min(in_torch) == 16, "one epoch later, and every seventh from there"
    assert [b - a for a, b in zip(in_torch, list(in_torch)[1:], strict=False)] == [7] * (len(in_torch) - 1)


def test_early_stopping_ends_in_the_epoch_in_which_keras_printed_that_it_did() -> None:
    losses = [float(loss) for loss in PRINTED_LOSSES.split()]
    best = losses.index(min(losses)) + 1
    ended = {
        counting: next(epoch for epoch in range(1, 99) if patience_is_out(max(epoch - best, 0), 50, counting))
        for counting in ("keras", "torch")
    }
    assert ended == {"keras": PRINTED_STOP, "torch": PRINTED_STOP + 1}


def test_a_loss_that_falls_by_less_than_the_least_fall_halves_the_rate_eight_times_in_200_epochs() -> None:
    # TransVW's rule. The loss falls by 4.1e-6 an epoch, so 1e-4 takes 25 epochs; the patience of 20 is out before. The
    # first epoch is better than none, and so are the 26th, the 51st, …; the rate falls 20 epochs after each.
    losses = [1.0 - 4.1e-6 * epoch for epoch in range(200)]
    rule = genesis(patience=20)
    assert list(falls(rates(losses, rule, 1e-3), 1e-3)) == [21, 46, 71, 96, 121, 146, 171, 196]
    flat = falls(rates([1.0 - 1e-7 * epoch for epoch in range(200)], rule, 1e-3), 1e-3)
    assert list(flat) == [21, 41, 61, 81, 101, 121, 141, 161, 181], "it never falls by 1e-4"
    assert not falls(rates(losses, genesis(patience=20, min_delta=0.0), 1e-3), 1e-3), "any fall would count"


def test_the_rate_stops_at_the_least_rate() -> None:
    found = rates([1.0] * 99, genesis(patience=2), 1e-2)
    assert math.isclose(min(found), 1e-6) and found[-1] == min(found)
    assert found[26] == 1e-2 * 0.5**13 and math.isclose(found[28], 1e-6), "thirteen halvings, then the least rate"
    below = rates([1.0] * 20, genesis(patience=2, min_lr=1e-3), 1e-4)
    assert set(below) == {1e-4}, "a rate that starts below it stays"


@pytest.mark.parametrize("seed", range(40))
def test_keras_counting_is_what_keras_documents(seed: int) -> None:
    draw = random.Random(seed)
    rule = genesis(
        patience=draw.randint(0, 5), min_delta=draw.choice([0.0, 1e-3, 0.05]), min_lr=draw.choice([0.0, 1e-4])
    )
    losses = [draw.choice([draw.random(), 0.5 + 1e-3 * draw.randint(-3, 3)]) for _ in range(80)]
    assert rates(losses, rule, 0.01) == pytest.approx(as_documented(losses, rule, 0.01), rel=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_torch_counting_is_pytorchs_own_scheduler(seed: int) -> None:
    draw = random.Random(seed)
    patience, least, floor = draw.randint(0, 5), draw.choice([0.0, 1e-4, 0.05]), draw.choice([0.0, 1e-5])
    rule = PlateauRule(factor=0.5, patience=patience, min_delta=least, min_lr=floor, counting="torch")
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=0.5, patience=patience, threshold=least, min_lr=floor
    )
    losses = [draw.choice([draw.random(), 0.5 + 1e-5 * draw.randint(-9, 9), math.nan]) for _ in range(150)]
    expected = []
    for loss in losses:
        scheduler.step(loss)
        expected.append(optimiser.param_groups[0]["lr"])
    found = rates(losses, rule, 2e-4)
    assert found == expected if floor == 0.0 else found == pytest.approx(expected, rel=1e-12)


def test_a_state_carries_on() -> None:
    losses = [3.0, 2.0, 2.5, 2.0, 2.1, 1.0, 1.5, 1.5, 1.5, 1.5]
    whole = Plateau(0.1, genesis(patience=2))
    expected = [whole.factor_after(loss) for loss in losses]
    for cut in range(len(losses)):
        first, second = Plateau(0.1, genesis(patience=2)), Plateau(0.1, genesis(patience=2))
        before = [first.factor_after(loss) for loss in losses[:cut]]
        second.load(first.state())
        assert second.current == first.current
        assert [*before, *(second.factor_after(loss) for loss in losses[cut:])] == expected


def test_pretraining_in_3d_counts_as_the_training_script_of_transvw() -> None:
    # TransVW bd4f3e3, keras/train.py and self_discovery/train_autoencoder.py.
    source = {"factor": 0.5, "patience": 20, "min_delta": 0.0001, "min_lr": 1e-6, "counting": "keras"}
    for profile in ("paper", "paper_matched", "code"):
        read = load_profile(profile).volumes
        assert read is not None
        volumes = read.model_dump(mode="json", exclude_none=True)
        assert PlateauRule.of(volumes["schedule"]).model_dump() == source
        assert PlateauRule.of(volumes["autoencoder"]["plateau"]).model_dump() == source
        assert (volumes["autoencoder"]["stop_after"], volumes["schedule"]["name"]) == (50, "plateau")
        plateau = plateau_of(read.schedule, read.optimiser.learning_rate)
        assert [plateau.factor_after(1.0) for _ in range(21)] == [1.0] * 20 + [0.5]
    still = plateau_of(Cosine(name="cosine", per="step"), 0.1)
    assert still.current == 1.0


@pytest.mark.parametrize(
    "wrong", [{"counting": "jax"}, {"factor": 0.0}, {"factor": 2}, {"patience": -1}, {"min_lr": -1}]
)
def test_a_rule_without_meaning_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        genesis(**wrong)
    with pytest.raises(ValidationError, match="patience"):
        PlateauRule.of({"name": "plateau", "factor": 0.5})
