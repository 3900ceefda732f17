"""Fine-tuning on volumes as its sources do it: head, schedule, early stopping, and every published constant."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import ConfigurationError
from harness.registry import load_registry
from harness.spec import TaskEntry
from tasks.configuration import resolve
from tasks.heads.patches import VolumeClassifier
from tasks.specs import read_transfer
from tasks.transfer.training import FineTuning, Fit
from tests.harness.test_plateau import PRINTED_FALLS, PRINTED_LOSSES, PRINTED_STOP
from tests.tasks.standins import TinyVolumeBackbone

THREE_D = ("luna16", "pe_cad", "lidc_idri", "lits", "brats")
IN_PAPER = {
    task: load_registry().resolve_task(task, "paper").transfer for task in (*THREE_D, "chestxray14", "montgomery")
}


def trained(transfer: dict[str, Any], losses: list[float]) -> Fit:
    """Fine-tune a single weight whose validation losses, one an epoch, are given; the last one is repeated."""
    model = torch.nn.Linear(1, 1)
    told: Iterator[float] = itertools.chain(losses, itertools.repeat(losses[-1]))
    return FineTuning(model, read_transfer(transfer), per_epoch=1).run(
        itertools.repeat(None, 400),  # type: ignore[arg-type]
        lambda batch: model.weight.square().sum(),
        lambda: (next(told), 0.5),
        lambda *_: None,
    )


def test_an_lidc_training_falls_and_stops_in_the_epochs_that_models_genesis_printed() -> None:
    found = trained(IN_PAPER["lidc_idri"], [float(loss) for loss in PRINTED_LOSSES.split()])
    assert found.stopped_early and found.steps == PRINTED_STOP and found.selected == 9
    rates = [row["learning_rate"] for row in found.curve]  # in force in the epoch, so a fall shows in the next one
    falls = [epoch for epoch, (old, new) in enumerate(itertools.pairwise(rates), start=1) if new != old]
    assert falls == list(PRINTED_FALLS)
    # The paper's rate is ten times the 1e-3 that was printed.
    assert [rates[epoch] for epoch in falls] == pytest.approx([10 * rate for rate in PRINTED_FALLS.values()], rel=1e-6)


@pytest.mark.parametrize(
    ("task", "patience"), [("luna16", 10), ("pe_cad", 38), ("lidc_idri", 50), ("lits", 20), ("brats", 30)]
)
def test_training_on_volumes_stops_in_the_epoch_that_fills_the_patience(task: str, patience: int) -> None:
    flat = trained(IN_PAPER[task], [0.5, 0.4, 0.4])
    assert flat.stopped_early and flat.steps == 2 + patience and flat.selected == 2
    later = trained({**IN_PAPER[task], "counting": "torch"}, [0.5, 0.4, 0.4])
    assert later.steps == 2 + patience + 1
    # Any fall counts for early stopping, which has no least fall; the plateau does not see it.
    creeping = trained(IN_PAPER[task], [0.5 - 1e-6 * epoch for epoch in range(100)])
    assert creeping.steps == 100 + patience
    assert creeping.curve[7]["learning_rate"] == IN_PAPER[task]["optimiser"]["lr"] / 2


def test_training_on_radiographs_falls_as_pytorchs_scheduler_and_stops_after_more_than_its_patience() -> None:
    # The benchmark: torch's ReduceLROnPlateau(factor=0.5, patience=10 // 2, threshold=1e-4), then stop at counter > 10.
    draws = np.random.Generator(np.random.PCG64(3))
    for _ in range(5):
        losses = (0.3 + np.cumsum(draws.normal(-1e-5, 3e-5, 80))).tolist()
        optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=10 // 2, threshold=1e-4)
        expected, best, counter = [], np.inf, 0
        for loss in losses:
            expected.append(optimiser.param_groups[0]["lr"])
            scheduler.step(loss)
            best, counter = (loss, 0) if loss < best else (best, counter + 1)
            if counter > 10:
                break
        found = trained(IN_PAPER["chestxray14"], losses)
        assert [row["learning_rate"] for row in found.curve][: len(expected)] == expected
        assert min(expected) < 2e-4, "the test needs a fall"
        assert not (found.stopped_early and found.steps < len(expected))
        if counter > 10:
            assert found.steps == len(expected)
    assert trained(IN_PAPER["chestxray14"], [0.5, 0.4, 0.4]).steps == 2 + 11
    assert trained(IN_PAPER["montgomery"], [0.5, 0.4, 0.4]).steps == 2 + 21


# Models Genesis 12f7feb, keras/downstream_tasks/config.py: the class of each task.
CONFIG = {
    "luna16": {"batch_size": 24, "patience": 10, "nb_epoch": 10000, "input": [64, 64, 32], "hu": [-1000, 1000]},
    "pe_cad": {"batch_size": 24, "patience": 38, "nb_epoch": 10000, "input": [64, 64, 64], "hu": [-1000, 1000]},
    "lidc_idri": {"batch_size": 16, "patience": 50, "nb_epoch": 10000, "input": [64, 64, 32], "hu": [-1000, 1000]},
    "lits": {"batch_size": 16, "patience": 20, "nb_epoch": 10000, "input": [64, 64, 32], "hu": [-1000, 1000]},
    "brats": {"batch_size": 16, "patience": 30, "nb_epoch": 10000, "input": [64, 64, 32], "hu": None},
}
# DiRA App. C.2.
RATES = {"luna16": 1e-2, "pe_cad": 1e-2, "lidc_idri": 1e-2, "lits": 1e-2, "brats": 1e-3}


@pytest.mark.parametrize("task", THREE_D)
def test_a_3d_task_has_the_constants_of_models_genesis_and_the_rate_of_the_paper(task: str) -> None:
    source, transfer = CONFIG[task], IN_PAPER[task]
    assert (transfer["batch"], transfer["early_stopping"], transfer["epochs"]) == (
        source["batch_size"],
        source["patience"],
        source["nb_epoch"],
    )
    # keras/downstream_tasks/utils.py, model_setup, dice_coef and augment_gaussian_noise.
    assert transfer["schedule"] == {"name": "plateau", "factor": 0.5, "patience": 6, "min_delta": 1e-4, "min_lr": 1e-6}
    assert transfer["counting"] == "keras" and transfer["selection"] == "validation_loss"
    assert transfer["augmentation"]["noise_std"] == 0.1
    assert transfer.get("dice_smooth", 1.0) == 1.0
    assert transfer["optimiser"] == {"name": "adam", "lr": RATES[task], "betas": [0.9, 0.999], "weight_decay": 0.0}
    patches = load_registry().resolve_task(task, "paper").cohort["patches"]
    assert patches["shape"] == source["input"]
    assert patches.get("window") == source["hu"]
    assert patches.get("in_plane") == (256 if task == "lits" else None)  # lcs_config: …_256x256xZ
    assert patches.get("crop") == ([100, 100, 50] if task == "brats" else None)  # bms_config: crop_rows, _cols, _deps
    if task in ("luna16", "pe_cad"):  # keras/README.md and pytorch/README.md: 512 -> 1024, ReLU, -> outputs
        assert transfer["head"] == {"hidden": 1024} and transfer["loss"] == "binary_cross_entropy"
    else:
        assert transfer["head"] == {"kernel": 1} and transfer["loss"] == "soft_dice"


def made(hidden: int, outputs: int = 3, seed: int = 0) -> VolumeClassifier:
    return VolumeClassifier(TinyVolumeBackbone(0), outputs, hidden, torch.Generator().manual_seed(seed))


def test_the_head_is_mean_hidden_layer_relu_and_a_linear_layer() -> None:
    model = made(7).eval()
    volumes = torch.rand(4, 1, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    features = model.backbone.encode(volumes)[-1].detach().double().numpy().mean(axis=(2, 3, 4))
    (first, second) = [layer for layer in model.head if isinstance(layer, torch.nn.Linear)]
    before = features @ first.weight.detach().double().numpy().T
    assert (before < 0).any(), "the test needs what ReLU cuts"
    expected = np.maximum(before, 0) @ second.weight.detach().double().numpy().T
    assert np.allclose(model(volumes).detach().numpy(), expected, atol=1e-5)
    single = made(0).eval()
    expected = features @ single.head.weight.detach().double().numpy().T
    assert np.allclose(single(volumes).detach().numpy(), expected, atol=1e-5)


def test_the_papers_head_has_the_parameters_of_models_genesis_and_starts_as_keras_starts_a_dense_layer() -> None:
    backbone = TinyVolumeBackbone(0)
    backbone.channels = (64, 128, 256, 512)
    head = VolumeClassifier(backbone, 1, 1024, torch.Generator().manual_seed(0)).head
    assert sum(p.numel() for p in head.parameters()) == 512 * 1024 + 1024 + 1024 * 1 + 1
    for layer in (head[0], head[2]):
        assert not layer.bias.any()
        limit = (6 / (layer.in_features + layer.out_features)) ** 0.5  # Glorot's, uniform
        assert float(layer.weight.detach().abs().max()) <= limit
        assert float(layer.weight.detach().std()) == pytest.approx(limit / 3**0.5, rel=0.05)
    again = VolumeClassifier(backbone, 1, 1024, torch.Generator().manual_seed(0)).head
    other = VolumeClassifier(backbone, 1, 1024, torch.Generator().manual_seed(1)).head
    assert torch.equal(again[0].weight, head[0].weight) and not torch.equal(other[0].weight, head[0].weight)


def entry(**transfer: Any) -> TaskEntry:
    given = {"name": "mine", "label": "Mine", "dimensions": 3, "adapter": "luna16", "transfer": "classification"}
    rest = {"outputs": 1, "metric": "auc", "split": "official", "version": 1, "source": "test"}
    return TaskEntry(**given, **rest, options={"transfer": transfer})


def test_the_heads_width_is_an_option_of_any_3d_classification_and_part_of_what_a_trial_is() -> None:
    assert resolve(entry(), "paper", {}).transfer["head"] == {"hidden": 1024}
    assert resolve(entry(), "miniature", {}).transfer["head"] == {"hidden": 128}, "twice the last width, as 1,024 is"
    assert resolve(entry(head={"hidden": 0}), "paper", {}).transfer["head"] == {"hidden": 0}
    assert resolve(entry(counting="torch"), "paper", {}).transfer["counting"] == "torch"


@pytest.mark.parametrize(
    ("transfer", "sentence"),
    [
        ({"head": {"hidden": -1}}, r"options\.transfer\.head\.hidden: found -1"),
        ({"head": {"initial_std": 0.01}}, r"options\.transfer\.head\.initial_std: unknown key"),
        ({"counting": "jax"}, r"options\.transfer\.counting: found 'jax'"),
        ({"schedule": {"threshold": 1e-4}}, r"threshold: unknown key"),
    ],
)
def test_a_3d_transfer_that_makes_no_sense_is_refused_in_a_sentence(transfer: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        resolve(entry(**transfer), "paper", {})
