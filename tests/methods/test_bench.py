"""What the benchmarks compare must be the same maths."""

import argparse
import time
from pathlib import Path

import pytest
import torch

from bench import ladder
from bench.finetuning import difference
from bench.gpu_session import Session
from bench.ladder import BytesMoved, Pace, climb
from bench.loader import equality
from bench.pictures import pictures, write_cohort
from bench.pretrain_step import agreement, flops, prepared
from bench.processes import another_checkout, times


@pytest.mark.thorough
def test_our_step_and_the_reference_have_equal_losses_and_gradients_and_ours_counts_fewer_operations(tmp_path):
    ours, reference, views = prepared("dis+res+adv", 64, 4, tmp_path, "cpu")
    query, key = (ours.objective.as_input(view) for view in views[:2])
    found = agreement(*prepared("dis+res+adv", 64, 4, tmp_path, "cpu"))
    assert found["losses"] < 1e-5 and found["gradients"] < 1e-4
    counted = flops(lambda: ours._take_step(views)) / flops(lambda: reference.step(query, key, views[2]))
    assert 0.7 < counted <= 0.8


def test_the_loader_under_test_shows_what_the_reference_shows():
    found = equality(pictures(6, 512))
    assert found["grey_and_rgb_levels"] == 0 and found["device_rest_levels"] == 0 and found["device_crop_levels"] <= 1


def test_bytes_moved_are_those_read_and_written_and_a_view_moves_none():
    square = torch.zeros(8, 8)
    with BytesMoved() as moved:
        square.view(64).reshape(4, 16).t().detach()[1:]
    assert moved.total == 0
    with BytesMoved() as moved:
        square + 1.0
        square.add_(1.0)
    assert moved.total == 4 * 8 * 8 * 4  # each reads and writes 256 bytes


@pytest.mark.parametrize("steps", [1, 10])
def test_a_rung_counts_every_step_that_it_times(steps, tmp_path, monkeypatch):
    """Against a clock that moves by a second a step: the rate is exactly a batch a second."""
    cohort = write_cohort(tmp_path / "cohort", train=32, validation=0, px=48)
    taken = []
    real = ladder.ImageTraining._take_step
    monkeypatch.setattr(ladder.ImageTraining, "_take_step", lambda self, made: taken.append(1) or real(self, made))
    monkeypatch.setattr(ladder, "clock", lambda device: lambda: float(len(taken)))
    row = climb("moco_v2", 0, cohort, tmp_path, Pace("cpu", steps, 60.0, 1e9), profile="smoke", batch=16)
    assert row["steps_timed"] == steps and row["images_per_second"] == 16.0
    assert len(taken) == steps + ladder.WARM_UP and row["finite"]


def test_a_session_keeps_what_it_has_and_says_what_it_had_no_time_for(tmp_path):
    session = Session(tmp_path, seconds=30)
    session.part("done", 0, lambda: 1)
    session.part("broken", 0, lambda: 1 / 0)
    session.part("long", 60, lambda: pytest.fail("begun"))
    session.close()
    parts = {name: part["result"] for name, part in session.found["parts"].items()}
    assert parts["done"] == 1 and "ZeroDivisionError" in parts["broken"]["skipped"]
    assert parts["long"]["skipped"].endswith("expected at least 60")


def test_a_session_cuts_off_a_part_when_its_time_is_over_whatever_the_part_catches(tmp_path):
    session, begun = Session(tmp_path, seconds=0.5), time.monotonic()

    def stubborn():
        try:
            time.sleep(60)
        except Exception:
            time.sleep(60)

    session.part("endless", 0, stubborn)
    session.part("next", 1, lambda: pytest.fail("begun"))
    session.close()
    parts = {name: part["result"]["skipped"] for name, part in session.found["parts"].items()}
    assert time.monotonic() - begun < 30 and parts["endless"].startswith("cut off after")
    assert parts["next"].endswith("expected at least 1")


def test_two_runs_of_a_trial_differ_by_their_largest_distance():
    one, other = ({"values": {"auc": a}, "training_loss": losses} for a, losses in ((0.5, [1, 2]), (0.7, [1, 5])))
    assert difference(one, other) == {"auc": pytest.approx(0.2), "training loss": 3}


def test_a_mistaken_option_of_a_benchmark_is_told_before_anything_is_measured(tmp_path):
    assert times("3") == 3 and another_checkout(str(Path(__file__).parents[2])).is_dir()
    for wrong in ("0", "-1", "2.5", "many"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 1"):
            times(wrong)
    for wrong in (tmp_path, tmp_path / "none"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected the folder of a checkout"):
            another_checkout(str(wrong))
