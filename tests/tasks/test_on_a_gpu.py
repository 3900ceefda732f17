"""What fine-tuning does otherwise where a GPU computes, shown without one; and trials on ``DIRA_BENCH_TEST_DEVICE``."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from harness import packed
from harness.packed import loaders
from tasks.inputs.draws import uniforms
from tasks.inputs.image_augmentation import DRAWS, moved, moves, normalise
from tasks.inputs.loading import Batch, to_device
from tasks.inputs.patch_augmentation import augment
from tasks.patch_options import VolumeAugmentation
from tasks.specs import read_transfer
from tasks.transfer.training import CHECK_EVERY, FineTuning
from tests.pretended import META, Copies
from tests.tasks.conftest import plan_of

STEPS = 4 * CHECK_EVERY
NOTHING = Batch(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros((1, 1, 1), np.uint8), np.zeros((0, 0, 0)))


def tuned(losses, monkeypatch, device):
    """Fine-tune a single weight on given losses, as if on a device; return how it went and how often it looked."""
    transfer = plan_of("chestxray14").transfer
    said = {**transfer, "steps": len(losses), "epochs": None, "evaluate_every": len(losses)}
    model = nn.Linear(1, 1, bias=False)
    tuning = FineTuning(model, read_transfer(said), per_epoch=len(losses))
    tuning._device, looks, given = torch.device(device), [], iter(losses)

    def look(value):
        looks.append(value)
        return torch.tensor(math.isfinite(float(value)))

    monkeypatch.setattr(torch, "isfinite", look)
    loss = lambda batch: model.weight.sum() * 0 + next(given)  # noqa: E731
    return tuning.run(iter([NOTHING] * len(losses)), loss, lambda: (0.5, 0.5), lambda *_: None), len(looks)


def test_a_gpu_is_waited_for_every_tenth_step_and_a_cpu_looked_at_in_each(monkeypatch):
    for device, looks in (("cuda", STEPS // CHECK_EVERY), ("cpu", STEPS)):
        fit, seen = tuned([1.0] * STEPS, monkeypatch, device)
        assert (fit.diverged, fit.steps, seen) == (False, STEPS, looks)


@pytest.mark.parametrize("bad", [0, 3, CHECK_EVERY - 1, CHECK_EVERY, STEPS - 1])
def test_a_loss_that_is_not_finite_is_found_at_the_next_look_whichever_step_had_it(bad, monkeypatch):
    losses = [1.0] * STEPS
    losses[bad] = math.nan
    fit, _ = tuned(losses, monkeypatch, "cuda")
    assert fit.diverged and bad <= fit.steps < bad + CHECK_EVERY and fit.selected is None


def test_loaders_are_those_asked_for_or_on_a_gpu_some_of_the_cores(monkeypatch):
    monkeypatch.setattr(packed, "cores", lambda: 16)
    assert [loaders(0, "cpu"), loaders(3, "cpu"), loaders(0, "cuda:0"), loaders(2, "cuda:0")] == [0, 3, 4, 2]
    monkeypatch.setattr(packed, "cores", lambda: 2)
    assert loaders(0, "cuda:0") == 0


def test_an_array_comes_to_a_gpu_from_page_locked_memory_and_to_a_cpu_as_it_is(monkeypatch):
    pinned, sent = [], []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, device, non_blocking: sent.append((device, non_blocking)) or self
    )
    array = np.arange(6, dtype=np.uint8)
    assert np.shares_memory(to_device(array, "cpu").numpy(), array) and not pinned
    to_device(array, "cuda:0")
    assert len(pinned) == 1 and sent[-1] == ("cuda:0", True)


def test_a_step_of_fine_tuning_copies_twice_and_waits_for_nothing():
    """On a pretended device: what a batch of labelled images asks of it, up to the network."""
    random = np.random.Generator(np.random.PCG64(0))
    images = random.integers(0, 256, (4, 48, 48), dtype=np.uint8)
    options = read_transfer(plan_of("chestxray14").transfer)
    with Copies() as copies:
        told = moves(uniforms(3, np.zeros(4, int), np.arange(4), DRAWS), 48, options.augmentation)
        grey, *there = packed.to_device([images, *told], META)
        made = normalise(moved(grey.float().div_(255.0), there, 32), "imagenet", 3)
        targets, _ = packed.to_device([np.zeros((4, 14), np.float32)] * 2, META)
    assert len(copies.sizes) == 2 and tuple(made.shape) == (4, 3, 32, 32) and tuple(targets.shape) == (4, 14)


def test_noise_of_patches_comes_over_by_one_copy():
    options = VolumeAugmentation(flip=0.5, transpose=0.5, rotate=0.5, noise=1.0, noise_std=0.1)
    cubes = torch.zeros(6, 1, 8, 8, 4, device=META)
    with Copies() as copies:
        augment(cubes, None, 3, np.zeros(6, int), np.arange(6), options)
    assert len(copies.sizes) == 1


def test_under_fp16_a_step_that_overflows_is_skipped_and_the_scale_reduced():
    transfer = plan_of("chestxray14").transfer
    said = {**transfer, "steps": 3, "epochs": None, "evaluate_every": 3, "precision": "fp16"}
    model = nn.Linear(1, 1, bias=False)
    tuning = FineTuning(model, read_transfer(said), per_epoch=3)
    begun, scales, factors = model.weight.item(), [], iter([1e36, 1.0, 1.0])

    def after_step():
        scales.append((tuning._scaler.get_scale(), model.weight.item()))

    fit = tuning.run(
        iter([NOTHING] * 3),
        lambda batch: model.weight.sum() * next(factors),
        lambda: (0.5, 0.5),
        lambda *_: None,
        after_step,
    )
    assert not fit.diverged and scales[0] == (32768.0, begun) and scales[1][0] == 32768.0 and scales[1][1] != begun
